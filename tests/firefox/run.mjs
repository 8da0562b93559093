// Firefox end to end: what two independent Web Push libraries send arrives decrypted in a real service worker.
//
// Why it exists: every other test speaks the protocols as we understand them; this one asks the user agent that
// people run. Each scene is a way to reach the service (`http`, `ws`, `wss`), and in each the whole life of a
// subscription is played: subscribe with a VAPID key, receive, be closed while messages are sent, come back with the
// same profile, unsubscribe.
//
// Usage: PUSH_SERVICE_BIN=… PYTHON=… FIREFOX=… node firefox/run.mjs [SCENE …]

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import webPush from 'web-push';
import { Profile, visit } from './browser.mjs';
import { Service, freePort } from './service.mjs';
import { Site } from './site.mjs';

const BINARY = required('PUSH_SERVICE_BIN');
const FIREFOX = process.env.FIREFOX ?? '/usr/bin/firefox-esr';
const PYTHON = process.env.PYTHON ?? 'python3';

/** A connected browser has a message within milliseconds; a loaded machine may take a while to wake the worker. */
const ARRIVES_WITHIN_MS = 20_000;
/** A browser that starts connects by itself; after a failed attempt it waits 5 s, then 10 s (WS-CLS-1). */
const RETURNS_WITHIN_MS = 45_000;

const SENDERS = {
  pywebpush: { command: PYTHON, script: 'pywebpush_send.py' },
  'web-push': { command: process.execPath, script: 'web_push_send.mjs' },
};

const SCENES = {
  // Everything in clear on one port, as behind an ingress. web-push refuses plain http, so pywebpush sends alone.
  http: async () => ({
    listeners: { http: ['127.0.0.1:0'], tls: [] },
    serverUrl: ({ http }) => `ws://${http}/`,
    senders: ['pywebpush'],
  }),
  // The browser in clear, the application servers over TLS.
  ws: async () => {
    const tls = `127.0.0.1:${await freePort()}`;
    return {
      listeners: { http: ['127.0.0.1:0'], tls: [tls], publicUrl: `https://${tls}` },
      serverUrl: ({ http }) => `ws://${http}/`,
      senders: ['pywebpush', 'web-push'],
    };
  },
  // Everything over TLS, with the certificate that the service made for itself.
  wss: async () => ({
    listeners: { http: [], tls: ['127.0.0.1:0'] },
    serverUrl: ({ tls }) => `wss://${tls}/`,
    senders: ['pywebpush', 'web-push'],
  }),
};

const chosen = process.argv.slice(2);
for (const name of chosen.length > 0 ? chosen : Object.keys(SCENES)) {
  const started = performance.now();
  await play(name, await SCENES[name]());
  console.log(`firefox over ${name}: passed in ${((performance.now() - started) / 1000).toFixed(1)} s`);
}

async function play(name, { listeners, serverUrl, senders }) {
  const service = await Service.start(BINARY, listeners);
  const site = await Site.start();
  const profile = await Profile.create();
  const stage = { name, site, profile, senders, serverUrl: serverUrl(service.addresses) };
  try {
    await theLifeOfASubscription(stage);
  } catch (error) {
    console.error(`firefox over ${name}: FAILED; the service said:\n${service.log}`);
    throw error;
  } finally {
    await stage.browser?.close();
    site.close();
    await service.stop();
    await profile.remove();
  }
}

async function theLifeOfASubscription(stage) {
  const { name, site, profile, senders } = stage;
  const keys = webPush.generateVAPIDKeys();
  stage.browser = await profile.open(FIREFOX, stage.serverUrl);
  const page = await visit(stage.browser, site.origin);
  const subscription = await page.subscribe(keys.publicKey);

  for (const sender of senders) {
    const message = `${sender} to a browser that is there, over ${name}: größe ✓`;
    await accepted(sender, { subscription, keys, message, topic: 'now', urgency: 'high' });
    assert.deepEqual(await site.nextReport(ARRIVES_WITHIN_MS), { event: 'message', text: message });
  }

  await stage.browser.close();
  const waiting = senders.map((sender) => `${sender} to a browser that is closed, over ${name}`);
  for (const [at, sender] of senders.entries()) {
    const order = { subscription, keys, topic: `later-${at}`, urgency: 'normal' };
    await accepted(sender, { ...order, message: 'replaced by its topic' });
    await accepted(sender, { ...order, message: waiting[at] });
  }
  assert.deepEqual(site.unread, [], 'nothing arrives while the browser is closed');

  stage.browser = await profile.open(FIREFOX, stage.serverUrl);
  // Firefox decrypts and hands over side by side, so their order at the worker is its own affair.
  const returned = [];
  while (returned.length < waiting.length) returned.push(await site.nextReport(RETURNS_WITHIN_MS));
  assert.deepEqual(
    new Set(returned.map(({ event, text }) => `${event}: ${text}`)),
    new Set(waiting.map((message) => `message: ${message}`)),
  );
  const again = await visit(stage.browser, site.origin);
  assert.equal((await again.subscription()).endpoint, subscription.endpoint, 'the subscription outlived the browser');

  assert.equal(await again.unsubscribe(), true);
  for (const sender of senders) {
    const answer = await send(sender, { subscription, keys, message: 'too late', topic: 'late', urgency: 'low' });
    assert.equal(answer.status, 410, `${sender} to an ended subscription: ${answer.body}`);
  }
  assert.deepEqual(site.unread, [], 'nothing arrived twice, and no subscription was lost');
}

async function accepted(sender, order) {
  const answer = await send(sender, order);
  assert.equal(answer.status, 201, `${sender}: ${answer.body}`);
  assert.equal(answer.ttl, '600', `${sender}: the TTL that was granted`);
  assert.ok(answer.location, `${sender}: the message has an address`);
}

async function send(sender, { subscription, keys, message, topic, urgency }) {
  const { command, script } = SENDERS[sender];
  const path = fileURLToPath(new URL(`../senders/${script}`, import.meta.url));
  const child = spawn(command, [path], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(JSON.stringify({ subscription, ...keys, text: message, ttl: 600, topic, urgency }));
  const [answer, code] = await Promise.all([
    text(child.stdout),
    new Promise((resolve) => {
      child.once('exit', resolve);
    }),
  ]);
  assert.equal(code, 0, `${sender} itself failed`);
  return JSON.parse(answer);
}

function required(variable) {
  const value = process.env[variable];
  if (!value) throw new Error(`${variable} must name the binary to test`);
  return value;
}
