// Firefox end to end: what two independent Web Push libraries and our own `send` send arrives decrypted in a real
// service worker.
//
// Why it exists: every other test speaks the protocols as we understand them; this one asks the user agent that
// people run. Each scene is a way to reach the service (`http`, `ws`, `wss`), and in each the whole life of a
// subscription is played: subscribe with a VAPID key, receive, be closed while messages are sent, come back with the
// same profile, unsubscribe. In two more, something happens to the service while Firefox runs: its storage moves
// (`move`), and it is two nodes of which one dies (`nodes`).
//
// Usage: PUSH_SERVICE_BIN=… USER_AGENT_CLIENT_BIN=… PYTHON=… FIREFOX=… REDIS_SERVER=… node firefox/run.mjs [SCENE …]

import assert from 'node:assert/strict';
import { required } from '../command.mjs';
import { playScenes } from '../scenes.mjs';
import { send, senders } from '../senders/senders.mjs';
import { theServiceMoves } from './move.mjs';
import { aNodeDies } from './nodes.mjs';
import { RETURNS_WITHIN_MS, Stage, accepted } from './stage.mjs';

await playScenes(
  'firefox',
  process.argv.slice(2),
  required('PUSH_SERVICE_BIN'),
  (scene) => Stage.play((stage) => theLifeOfASubscription(stage, scene)),
  {
    move: () => Stage.play(theServiceMoves),
    nodes: () => Stage.play(aNodeDies),
  },
);

async function theLifeOfASubscription(stage, { name, serverUrl, secure }) {
  const { site, keys } = stage;
  const page = await stage.open(serverUrl);
  const subscription = await page.subscribe(keys.publicKey);

  for (const sender of senders({ secure })) {
    const message = `${sender} to a browser that is there, over ${name}: größe ✓`;
    await accepted(sender, { subscription, keys, text: message, topic: 'now', urgency: 'high' });
    await stage.receives([message]);
  }

  await stage.close();
  const waiting = senders({ secure }).map((sender) => `${sender} to a browser that is closed, over ${name}`);
  for (const [at, sender] of senders({ secure }).entries()) {
    const order = { subscription, keys, topic: `later-${at}`, urgency: 'normal' };
    await accepted(sender, { ...order, text: 'replaced by its topic' });
    await accepted(sender, { ...order, text: waiting[at] });
  }
  assert.deepEqual(site.unread, [], 'nothing arrives while the browser is closed');

  await stage.start(serverUrl);
  await stage.receives(waiting, RETURNS_WITHIN_MS);
  const again = await stage.visit();
  assert.equal((await again.subscription()).endpoint, subscription.endpoint, 'the subscription outlived the browser');

  assert.equal(await again.unsubscribe(), true);
  for (const sender of senders({ secure })) {
    const answer = await send(sender, { subscription, keys, text: 'too late', topic: 'late', urgency: 'low' });
    assert.equal(answer.status, 410, `${sender} to an ended subscription: ${answer.body}`);
  }
  assert.deepEqual(site.unread, [], 'nothing arrived twice, and no subscription was lost');
}
