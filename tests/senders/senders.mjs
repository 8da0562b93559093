// Application servers of several makes, each sending one push message when it is told to.
//
// Why it exists: the tests with a real browser and with our own user agent send by the same hands, and are told in the
// same words its result. It knows the scripts and commands beside it and nothing about the receiver.

import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import webPush from 'web-push';
import { required, run } from '../command.mjs';

const PYTHON = process.env.PYTHON ?? 'python3';

/** The libraries that were written without knowing this service. */
const LIBRARIES = {
  pywebpush: [PYTHON, beside('pywebpush_send.py')],
  'web-push': [process.execPath, beside('web_push_send.mjs')],
};

/** The `send` of our own command. */
const COMMAND = 'user-agent-client';

/** All senders. web-push refuses plain http. */
export function senders({ secure }) {
  return [...Object.keys(LIBRARIES).filter((name) => secure || name !== 'web-push'), COMMAND];
}

/** A VAPID key pair by a library. */
export function keysOfALibrary() {
  return webPush.generateVAPIDKeys();
}

/** A VAPID key pair from a PEM file (`pem`), also in the words of libraries that take no file. `file` is for our command. */
export function keysFromFile(file) {
  const { d, x, y } = createPrivateKey(readFileSync(file)).export({ format: 'jwk' });
  const point = [Buffer.of(4), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')];
  return { publicKey: Buffer.concat(point).toString('base64url'), privateKey: d, file, pem: file };
}

/**
 * Sends one message and returns the result: `status`, and where the sender tells it, `location`, `ttl`, `body`.
 *
 * The order has `subscription` (a W3C PushSubscription), `keys` (a pair from above; none: unsigned), `text` (`null`: no
 * body) or, but for pywebpush, `base64`, and if they are wanted `ttl`, `topic`, `urgency`; for libraries
 * `contentEncoding`.
 */
export async function send(sender, order) {
  return sender === COMMAND ? sendByCommand(order) : sendByLibrary(sender, order);
}

async function sendByLibrary(sender, { keys, ...order }) {
  const [program, ...rest] = LIBRARIES[sender];
  const input = JSON.stringify({ ttl: 600, ...keys, ...order });
  const { code, output, said } = await run(program, rest, { input });
  assert.equal(code, 0, `${sender} itself failed: ${said}`);
  return JSON.parse(output);
}

/** What is told by exit codes here is told by the statuses that they stand for. */
async function sendByCommand({ subscription, keys, text, base64, ttl = 600, topic, urgency }) {
  assert.ok(!keys || keys.file, 'the command takes keys from files');
  const options = [
    ...['--subscription', '-', '--ttl', String(ttl), '--insecure'],
    ...(keys ? ['--vapid-key', keys.file, '--subject', 'mailto:tests@example.test'] : []),
    ...(topic ? ['--topic', topic] : []),
    ...(urgency ? ['--urgency', urgency] : []),
    ...(text === null ? ['--no-data'] : ['--', text ?? Buffer.from(base64, 'base64').toString()]),
  ];
  const input = JSON.stringify(subscription);
  const { code, output, said } = await run(required('USER_AGENT_CLIENT_BIN'), ['send', ...options], { input });
  const status = { 0: 201, 5: 410 }[code] ?? 400;
  return { status, location: output.trim() || null, body: said };
}

function beside(name) {
  return fileURLToPath(new URL(name, import.meta.url));
}
