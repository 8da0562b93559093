// An application server by the npm package web-push: one push message from standard input to the push service.
//
// Why it exists: as its neighbour in Python, a sender that was written without knowing this service. It speaks https
// only, so the service under test must have a TLS listener in its `public_url`.
//
// Standard input, JSON: `subscription` (a W3C PushSubscription), `text` (null: no body) or `base64`, `ttl`, and if they
// are wanted `publicKey` with `privateKey` (base64url), `topic`, `urgency`, `contentEncoding`. Standard output, JSON:
// `status`, `location`, `ttl`, `body`. A refusal by the service is an answer, not an error of this script.

import { Agent } from 'node:https';
import { text } from 'node:stream/consumers';
import webPush from 'web-push';

const order = JSON.parse(await text(process.stdin));

const vapidDetails = order.privateKey && {
  subject: 'mailto:tests@example.test',
  publicKey: order.publicKey,
  privateKey: order.privateKey,
};
const options = {
  vapidDetails: vapidDetails ?? null,
  TTL: order.ttl,
  topic: order.topic,
  urgency: order.urgency,
  contentEncoding: order.contentEncoding ?? 'aes128gcm',
  timeout: 10_000,
  // The service under test made its own certificate, which no authority has signed.
  agent: new Agent({ rejectUnauthorized: false }),
};

// An empty text is no body to this library; no bytes are a body in which nothing is encrypted.
const payload = order.base64 === undefined ? order.text : Buffer.from(order.base64, 'base64');

let answer;
try {
  answer = await webPush.sendNotification(order.subscription, payload, options);
} catch (refusal) {
  if (!refusal.statusCode) throw refusal;
  answer = refusal;
}
console.log(
  JSON.stringify({
    status: answer.statusCode,
    location: answer.headers.location ?? null,
    ttl: answer.headers.ttl ?? null,
    body: answer.body,
  }),
);
