// The two pages for people in a real Firefox: the status page of the admin listener, and `/` of a public listener.
//
// Why it exists: a page is right when a browser shows it. A user agent connects and the count changes; the service goes away and
// the page says so; everything works by keyboard; axe-core finds nothing, in both colour schemes, on a desktop and on a phone; and
// the page breaks no policy of its own. The forms of values, written in Rust and again in the page's script, are compared.
//
// Usage: PUSH_SERVICE_BIN=… USER_AGENT_CLIENT_BIN=… FIREFOX=… PICTURES=… node status_page/run.mjs
//
// Pictures go to the directory PICTURES. TRAFFIC_SECONDS makes traffic for so long before they are taken, as for those of the
// documentation.

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { required } from '../command.mjs';
import { Service, freePort } from '../service.mjs';
import { Agent } from '../user_agent/agent.mjs';
import { Browser, DESKTOP, PHONE } from './browser.mjs';

const SECRET = 'a-path-for-few';
const pictures = process.env.PICTURES ?? join(tmpdir(), 'status-page');

await mkdir(pictures, { recursive: true });
const directory = await mkdtemp(join(tmpdir(), 'status-page-test-'));
const [admin, tls] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
const settings = {
  http: ['127.0.0.1:0'],
  tls: [tls],
  admin,
  publicUrl: 'https://push.example.net',
  lines: process.env.TRAFFIC_SECONDS ? ['[limits]', 'connections = 5000'] : [],
};
const [service, hidden] = await Promise.all([
  Service.start(required('PUSH_SERVICE_BIN'), settings),
  Service.start(required('PUSH_SERVICE_BIN'), {
    http: ['127.0.0.1:0'],
    lines: [`user_agent_secret = ${JSON.stringify(SECRET)}`],
  }),
]);
const agent = new Agent(required('USER_AGENT_CLIENT_BIN'), {
  server: `ws://${service.addresses.http}/`,
  state: join(directory, 'state'),
});
const opened = ['light', 'dark'].map((scheme) => Browser.open(required('FIREFOX'), scheme));
const browsers = await Promise.all(opened);
const [light] = browsers;
const status = `http://${service.addresses.admin}/`;
const front = `http://${service.addresses.http}/`;

try {
  await aLiveCount();
  await Promise.all(browsers.map(looks));
  await byKeyboard();
  await theSameForms();
  await thePublicPage();
  await theServiceGoesAway();
} catch (error) {
  console.error(service.log);
  throw error;
} finally {
  await agent.close();
  await Promise.all(browsers.map((browser) => browser.close()));
  await Promise.all([service.stop('SIGINT'), hidden.stop('SIGINT')]);
  await rm(directory, { recursive: true, force: true });
}

/** A user agent connects, gets a message, and leaves: the page that is open shows each of it. */
async function aLiveCount() {
  const page = await light.visit(status, DESKTOP);
  const shows = (path, text) =>
    page.until(
      `${path} is ${text}`,
      (path, text) => document.querySelector(`[data-value="${path}"]`).textContent === text,
      path,
      text,
    );
  await shows('node.word', 'Ready');
  await shows('channels.total', '0');
  const names = process.env.TRAFFIC_SECONDS ? ['page', 'news', 'chat', 'mail', 'calendar'] : ['page'];
  const paths = [];
  for (const name of names) paths.push(new URL(JSON.parse(await agent.subscribe(name)).endpoint).pathname);
  const [path] = paths;
  const before = await page.evaluate(() => performance.timeOrigin);
  const listener = agent.listen();
  await shows('channels.total', '1');
  await shows('channels.websocket', '1');
  const sent = await fetch(`http://${service.addresses.http}${path}`, { method: 'POST', headers: { TTL: '60' } });
  assert.equal(sent.status, 201);
  await shows('rates.acknowledged.total', '1');
  const wrong = await fetch(`http://${service.addresses.http}${path}`, { method: 'POST' });
  assert.equal(wrong.status, 400);
  await shows('refusals.ttl.total', '1');
  const rows = await page.evaluate(() =>
    [...document.querySelectorAll('.refusals tbody tr:not([hidden]) th > code')].map((name) => name.textContent),
  );
  assert.deepEqual(rows, ['ttl'], 'only what was refused has a row');
  assert.equal(await page.evaluate(() => performance.timeOrigin), before, 'the page was not loaded again');
  // The user agent stays for the pictures.
  if (process.env.TRAFFIC_SECONDS) return traffic(Number(process.env.TRAFFIC_SECONDS), paths);
  assert.equal(await listener.stop('SIGINT'), 0);
  await shows('channels.total', '0');
  await page.isClean();
  await page.close();
}

/** Both pages in one colour scheme: accessible, clean, and drawn. */
async function looks(browser) {
  for (const [name, viewport] of Object.entries({ desktop: DESKTOP, phone: PHONE })) {
    const page = await browser.visit(status, viewport);
    await page.until('it is live', () => document.getElementById('live').textContent === 'Live, as of');
    const isDark = await page.evaluate(() => matchMedia('(prefers-color-scheme: dark)').matches);
    assert.equal(isDark, browser.scheme === 'dark');
    await page.picture(join(pictures, `status-${name}-${browser.scheme}.png`));
    await page.evaluate(() => document.querySelector('details').setAttribute('open', ''));
    const rules = await page.isAccessible();
    await page.isClean();
    await page.close();
    const public_ = await browser.visit(front, viewport);
    await public_.picture(join(pictures, `front-${name}-${browser.scheme}.png`));
    const ofFront = await public_.isAccessible();
    await public_.isClean();
    await public_.close();
    console.log(`${browser.scheme}, ${name}: axe-core passed ${rules} rules on the status page, ${ofFront} on the public one`);
  }
}

/** Everything that can be done on the page is reached by Tab, in order, and is seen when it has the focus. */
async function byKeyboard() {
  const page = await light.visit(status, PHONE);
  await page.until('it is live', () => document.getElementById('live').textContent === 'Live, as of');
  const focused = () =>
    page.evaluate(() => {
      const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
      const name = document.activeElement.id || document.activeElement.tagName.toLowerCase();
      return [name, outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2];
    });
  await page.press('Tab');
  assert.deepEqual(await focused(), ['pause', true]);
  await page.press('Enter');
  const state = () => page.evaluate(() => document.getElementById('live').textContent);
  assert.equal(await state(), 'Paused, as of');
  await page.press(' ');
  await page.until('it goes on', () => document.getElementById('live').textContent === 'Live, as of');
  assert.deepEqual(await focused(), ['pause', true], 'new values take no focus away');
  await page.press('Tab');
  assert.deepEqual(await focused(), ['summary', true]);
  await page.press('Enter');
  await page.until('it opens', () => document.querySelector('details').open);
  await page.press('Tab');
  assert.deepEqual(await focused(), ['a', true]);
  await page.isClean();
  await page.close();
}

/** The script writes what the service wrote, and both keep to the table in `formats.rs`. */
async function theSameForms() {
  const source = await readFile(new URL('../../push-service/src/admin/page/formats.rs', import.meta.url), 'utf8');
  const rows = [...source.matchAll(/\("(\w+)", json!\((.+?)\), "(.*)"\),/g)]
    .map(([, form, value, expected]) => [form, JSON.parse(value.replace(/_(?=\d)|_u64/g, '')), expected])
    .filter(([, value]) => value !== null);
  assert.ok(rows.length > 30, `${rows.length} rows`);
  const page = await light.visit(status, DESKTOP);
  await page.until('it is live', () => document.getElementById('live').textContent === 'Live, as of');
  const written = await page.evaluate((rows) => rows.map(([form, value]) => forms[form](value)), rows);
  assert.deepEqual(written, rows.map(([, , expected]) => expected));
  const [served, shown] = await page.evaluate(() => {
    const elements = [...document.querySelectorAll('[data-value]')];
    const isSteady = ({ dataset }) => !/uptime|window|per_second|recent|peak|waits/.test(dataset.value);
    const steady = elements.map(isSteady);
    const name = (text, index) => `${elements[index].dataset.value}: ${text}`;
    const of = (texts) => texts.map(name).filter((_, index) => steady[index]);
    return [of(window.served), of(elements.map((element) => element.textContent))];
  });
  assert.ok(served.length > 50);
  assert.deepEqual(shown, served);
  await page.close();
}

/** The page at `/` says how to use this service, and never its secret. */
async function thePublicPage() {
  const page = await light.visit(front, DESKTOP);
  const text = await page.evaluate(() => document.body.innerText);
  for (const part of ['dom.push.serverURL', 'wss://push.example.net/', 'https://push.example.net/']) {
    assert.ok(text.includes(part), text);
  }
  await page.isClean();
  await page.close();
  const private_ = await light.visit(`http://${hidden.addresses.http}/`, PHONE);
  const html = await private_.evaluate(() => document.documentElement.outerHTML);
  assert.ok(!html.includes(SECRET) && html.includes('a path that is private'), html);
  assert.ok(html.includes(`ws://${hidden.addresses.http}/`) && html.includes('allowInsecureServerURL'), html);
  await private_.isAccessible();
  await private_.isClean();
  await private_.close();
}

/** The page says when it has no answer, and since when; and that ends when the service is back. */
async function theServiceGoesAway() {
  const page = await light.visit(status, DESKTOP);
  await page.until('it is live', () => document.getElementById('live').textContent === 'Live, as of');
  const says = (what) =>
    page.until(
      `it says: ${what}`,
      (what) => {
        const trouble = document.getElementById('trouble');
        return !trouble.hidden && trouble.textContent.startsWith(what) && trouble.textContent;
      },
      what,
    );
  const word = () => page.evaluate(() => document.getElementById('node').textContent);
  // As a node that starts.
  await page.evaluate(() => {
    const answer = () => new Response('{"error": "not ready: starting"}', { status: 503 });
    Object.assign(window, { realFetch: window.fetch, fetch: async () => answer() });
  });
  await says('The service gives no figures (not ready: starting) since ');
  assert.equal(await word(), 'Not ready');
  await page.evaluate(() => Object.assign(window, { fetch: window.realFetch }));
  await service.end('SIGKILL');
  const said = await says('No answer from the service');
  assert.match(said, /^No answer from the service since \d+:\d+/);
  assert.equal(await word(), 'No answer');
  // The worst that it can look like.
  await page.evaluate(() => {
    for (const element of document.querySelectorAll('[data-state]')) element.dataset.state = 'bad';
  });
  await page.picture(join(pictures, 'status-away.png'));
  await page.isAccessible();
  await service.launch();
  await page.until('it is live again', () => document.getElementById('live').textContent === 'Live, as of');
  assert.equal(await page.evaluate(() => document.getElementById('trouble').hidden), true);
  await page.close();
}

/** Messages at a rate that rises and falls, and user agents that come and go; a few requests are refused. For the pictures. */
async function traffic(seconds, paths) {
  const base = `http://${service.addresses.http}`;
  const ends = Date.now() + seconds * 1000;
  const streams = [];
  const comes = async () => {
    const made = await fetch(`${base}/subscribe`, { method: 'POST' });
    if (made.status !== 201) return;
    const { pathname } = new URL(made.headers.get('location'));
    const leaves = new AbortController();
    streams.push(leaves);
    const headers = { accept: 'text/event-stream' };
    const stream = await fetch(`${base}${pathname}`, { headers, signal: leaves.signal });
    stream.text().catch(() => {});
  };
  for (let round = 0; Date.now() < ends; round += 1) {
    const perSecond = 28 + 14 * Math.sin(round / 1500) + 5 * Math.sin(round / 240) + 4 * Math.random();
    const headers = round % 153 === 0 ? {} : { TTL: '60' };
    await fetch(`${base}${paths[round % paths.length]}`, { method: 'POST', headers });
    if (round % 390 === 0) await fetch(`${base}/push/none`, { method: 'POST', headers });
    if (round % 170 === 0) await comes();
    if (round % 330 === 0) streams.shift()?.abort();
    await pause(1000 / perSecond);
  }
}
