// The service moves from embedded storage to Redis under a running Firefox, which is told nothing and loses nothing.
//
// Why it exists: a move is right if neither those who hold a subscription's URL nor the browser behind it can tell that
// there was one. It is made by the commands of docs/operations.md, in their order.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from '../redis.mjs';
import { senders } from '../senders/senders.mjs';
import { freePort } from '../service.mjs';
import { Link } from './link.mjs';
import { RETURNS_WITHIN_MS, accepted } from './stage.mjs';
import { inTheirOrder, texts } from './waiting.mjs';

/** PR-37: the old endpoint delivers; what waited comes in its order, once, and is gone when it was acknowledged. */
export async function theServiceMoves(stage) {
  const { site, keys } = stage;
  const link = stage.with(await Link.start(), 'close');
  const address = `127.0.0.1:${await freePort()}`;
  const old = await stage.service({ http: [address] });
  await old.launch();
  link.leadTo(address);
  const page = await stage.open(link.serverUrl);
  const subscription = await page.subscribe(keys.publicKey);
  const [sender] = senders({ secure: false });
  await accepted(sender, { subscription, keys, text: 'before the move' });
  await stage.receives(['before the move']);
  await link.acknowledged(1);

  link.cut();
  const waiting = texts('waits during the move', 4);
  for (const text of waiting) await accepted(sender, { subscription, keys, text });
  await old.end('SIGINT');
  const next = await moved(stage, old, address);
  await next.launch();
  link.leadTo(address);

  await stage.receives(waiting, RETURNS_WITHIN_MS);
  inTheirOrder(waiting, link.delivered.slice(1));
  assert.equal((await page.subscription()).endpoint, subscription.endpoint, 'it is the same subscription');
  for (const sender of senders({ secure: false })) {
    await accepted(sender, { subscription, keys, text: `${sender} after the move` });
    await stage.receives([`${sender} after the move`]);
  }

  const all = 1 + waiting.length + senders({ secure: false }).length;
  await link.acknowledged(all);
  link.cut();
  await accepted(sender, { subscription, keys, text: 'alone' });
  link.leadTo(address);
  await stage.receives(['alone'], RETURNS_WITHIN_MS);
  assert.equal(link.delivered.length, all + 1, 'what was acknowledged does not come again');
  assert.deepEqual(site.unread, [], 'nothing arrived twice, and no subscription was lost');
}

/** A service at the same address, that has all of the old one's in Redis and does not run yet. */
async function moved(stage, old, address) {
  const redis = stage.with(await Redis.start(), 'stop');
  const directory = await mkdtemp(join(tmpdir(), 'push-service-move-'));
  try {
    const file = join(directory, 'push-service.export');
    const sealingKeys = went(await old.runs('keys', 'show')).output.trim().split('\n');
    const { said } = went(await old.runs('export', file));
    assert.match(said, /1 user agents, 1 subscriptions and 4 messages/);
    const next = await stage.service({ http: [address], storageUrl: redis.url, sealingKeys });
    went(await next.runs('import', file));
    return next;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function went(ended) {
  assert.equal(ended.code, 0, ended.said);
  return ended;
}
