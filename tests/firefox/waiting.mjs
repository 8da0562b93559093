// Messages that are told apart without being read.
//
// Why it exists: on the wire they are encrypted, but encryption makes each longer by the same, so an order of lengths
// survives it.

import assert from 'node:assert/strict';

/** So many texts, each longer than the one before by more than any padding. */
export function texts(about, count) {
  return Array.from({ length: count }, (_, at) => `${about}: ${at} ${'.'.repeat(300 * at)}`);
}

/** The deliveries are these texts in their order, each once. */
export function inTheirOrder(texts, delivered) {
  const lengths = delivered.map(({ data }) => Buffer.from(data, 'base64url').length);
  assert.equal(lengths.length, texts.length, `as many deliveries as messages, of ${lengths} bytes`);
  assert.equal(new Set(delivered.map(({ version }) => version)).size, texts.length, 'each has an id of its own');
  assert.deepEqual(lengths, [...lengths].sort((a, b) => a - b), 'the order of acceptance');
}
