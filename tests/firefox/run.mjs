// Firefox end to end: what two independent Web Push libraries and our own `send` send arrives decrypted in a real service
// worker.
//
// Why it exists: every other test speaks the protocols as we understand them; this one asks the user agent that
// people run. Each scene is a way to reach the service (`http`, `ws`, `wss`), and in each the whole life of a
// subscription is played: subscribe with a VAPID key, receive, be closed while messages are sent, come back with the
// same profile, unsubscribe.
//
// Usage: PUSH_SERVICE_BIN=… USER_AGENT_CLIENT_BIN=… PYTHON=… FIREFOX=… node firefox/run.mjs [SCENE …]

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { required, run } from '../command.mjs';
import { playScenes } from '../scenes.mjs';
import { keysFromFile, send, senders } from '../senders/senders.mjs';
import { Profile, visit } from './browser.mjs';
import { Site } from './site.mjs';

const BINARY = required('PUSH_SERVICE_BIN');
const FIREFOX = process.env.FIREFOX ?? '/usr/bin/firefox-esr';

/** A connected browser has a message within milliseconds; a loaded machine may take a while to wake the worker. */
const ARRIVES_WITHIN_MS = 20_000;
/** A browser that starts connects by itself; after a failed attempt it waits 5 s, then 10 s (WS-CLS-1). */
const RETURNS_WITHIN_MS = 45_000;

await playScenes('firefox', process.argv.slice(2), BINARY, async ({ name, serverUrl, secure }) => {
  const site = await Site.start();
  const profile = await Profile.create();
  const stage = { name, site, profile, senders: senders({ secure }), serverUrl };
  try {
    await theLifeOfASubscription(stage);
  } finally {
    await stage.browser?.close();
    site.close();
    await profile.remove();
  }
});

async function theLifeOfASubscription(stage) {
  const { name, site, profile, senders } = stage;
  const keys = await keysOfACommand(profile);
  stage.browser = await profile.open(FIREFOX, stage.serverUrl);
  const page = await visit(stage.browser, site.origin);
  const subscription = await page.subscribe(keys.publicKey);

  for (const sender of senders) {
    const message = `${sender} to a browser that is there, over ${name}: größe ✓`;
    await accepted(sender, { subscription, keys, text: message, topic: 'now', urgency: 'high' });
    assert.deepEqual(await site.nextReport(ARRIVES_WITHIN_MS), { event: 'message', text: message });
  }

  await stage.browser.close();
  const waiting = senders.map((sender) => `${sender} to a browser that is closed, over ${name}`);
  for (const [at, sender] of senders.entries()) {
    const order = { subscription, keys, topic: `later-${at}`, urgency: 'normal' };
    await accepted(sender, { ...order, text: 'replaced by its topic' });
    await accepted(sender, { ...order, text: waiting[at] });
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
    const answer = await send(sender, { subscription, keys, text: 'too late', topic: 'late', urgency: 'low' });
    assert.equal(answer.status, 410, `${sender} to an ended subscription: ${answer.body}`);
  }
  assert.deepEqual(site.unread, [], 'nothing arrived twice, and no subscription was lost');
}

async function accepted(sender, order) {
  const answer = await send(sender, order);
  assert.equal(answer.status, 201, `${sender}: ${answer.body}`);
  // Our own command speaks of the TTL only when less was granted.
  if ('ttl' in answer) assert.equal(answer.ttl, '600', `${sender}: the TTL that was granted`);
  assert.ok(answer.location, `${sender}: the message has an address`);
}

/** The key that the page restricts its subscription to is the public half, as the command prints it. */
async function keysOfACommand(profile) {
  const file = join(profile.directory, 'vapid.pem');
  const { code, output, said } = await run(required('USER_AGENT_CLIENT_BIN'), ['keys', '--vapid-key', file]);
  assert.equal(code, 0, said);
  const keys = keysFromFile(file);
  assert.equal(output, `${keys.publicKey}\n`);
  return keys;
}
