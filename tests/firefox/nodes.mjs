// Two nodes that share a Redis: Firefox is connected to one, application servers come to the other, and the first dies.
//
// Why it exists: to its guests a service of several nodes is one service. Which node a subscription's URL leads to, and
// which one Firefox gets to, is a load balancer's choice.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Redis } from '../redis.mjs';
import { senders } from '../senders/senders.mjs';
import { freePort } from '../service.mjs';
import { Link } from './link.mjs';
import { RETURNS_WITHIN_MS, accepted } from './stage.mjs';
import { inTheirOrder, texts } from './waiting.mjs';

/** Longer than what travels in a wake-up (`cluster.inline_bytes`): the node of the browser reads it from storage. */
const LONG = 'long '.repeat(700);

/**
 * What is sent at one node arrives over the other, even with a TTL of 0. What was sent when that one had died arrives
 * over the first.
 */
export async function aNodeDies(stage) {
  const { site, keys } = stage;
  const link = stage.with(await Link.start(), 'close');
  const [near, far] = await twoNodes(stage);
  link.leadTo(near.addresses.http);
  const page = await stage.open(link.serverUrl);
  const subscription = await page.subscribe(keys.publicKey);
  assert.ok(subscription.endpoint.startsWith(`http://${far.addresses.http}/`), 'senders come to the other node');

  let sent = 0;
  for (const sender of senders({ secure: false })) {
    for (const order of [{ text: `${sender}, to wait` }, { text: `${sender}, now or never`, ttl: 0 }, { text: LONG }]) {
      await accepted(sender, { subscription, keys, ...order });
      await stage.receives([order.text]);
      sent += 1;
    }
  }
  await link.acknowledged(sent);

  await near.end('SIGKILL');
  link.cut();
  const waiting = texts('waits for another node', 4);
  const [sender] = senders({ secure: false });
  for (const text of waiting) await accepted(sender, { subscription, keys, text });
  link.leadTo(far.addresses.http);
  await stage.receives(waiting, RETURNS_WITHIN_MS);
  inTheirOrder(waiting, link.delivered.slice(sent));
  assert.equal((await page.subscription()).endpoint, subscription.endpoint, 'the subscription outlived the node');
  assert.deepEqual(site.unread, [], 'nothing arrived twice, and no subscription was lost');
}

/** Both under the URL of the second. Nothing but wake-ups tells one what the other stored: they compare each hour. */
async function twoNodes(stage) {
  const redis = stage.with(await Redis.start(), 'stop');
  const address = `127.0.0.1:${await freePort()}`;
  const settings = {
    publicUrl: `http://${address}`,
    storageUrl: redis.url,
    sealingKeys: [randomBytes(32).toString('base64url')],
    lines: ['[cluster]', 'reconcile = "1h"'],
  };
  const nodes = [];
  for (const http of ['127.0.0.1:0', address]) {
    const node = await stage.service({ ...settings, http: [http] });
    await node.launch();
    nodes.push(node);
  }
  return nodes;
}
