// Our user agent end to end: what two independent Web Push libraries and our own `send` send is printed by `listen`.
//
// Why it exists: inside the project, sender and receiver read the RFCs with the same eyes. Here the subscription that
// `subscribe` printed is handed to libraries that were written without knowing it, with their own keys and with those that
// `keys` made, and what they send has to come out to the letter.
//
// Usage: PUSH_SERVICE_BIN=… USER_AGENT_CLIENT_BIN=… PYTHON=… node user_agent/run.mjs [SCENE …]

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { required } from '../command.mjs';
import { playScenes } from '../scenes.mjs';
import { keysFromFile, keysOfALibrary, send, senders } from '../senders/senders.mjs';
import { freePort } from '../service.mjs';
import { Agent } from './agent.mjs';

const SERVICE = required('PUSH_SERVICE_BIN');
const USER_AGENT = required('USER_AGENT_CLIENT_BIN');

/** What every sender sends to every subscription. The last one is as long as a message can be (RFC 8291 §4). */
const TEXTS = [
  'Grüße ✓ 🙂👩‍👩‍👧',
  'two lines\r\nand a tab\t, a "quote" and a back\\slash',
  '{"json": ["is", {"text": "too"}], "n": 1e3}',
  'x'.repeat(3993),
];

/** What is written in a line of text, where a line is a message. */
const TWO_LINES_AS_TEXT = 'two lines\\r\\nand a tab\t, a "quote" and a back\\\\slash';

await playScenes('user agent', process.argv.slice(2), SERVICE, async ({ serverUrl, secure }) => {
  const directory = await mkdtemp(join(tmpdir(), 'user-agent-test-'));
  const agent = new Agent(USER_AGENT, { server: serverUrl, state: join(directory, 'state'), insecure: secure });
  const stage = { agent, directory, senders: senders({ secure }) };
  try {
    await subscribing(stage);
    await everySenderIsUnderstood(stage);
    await messagesWithoutText(stage);
    await theDraftBeforeTheStandard(stage);
    await theWrongKey(stage);
    await whatWaited(stage);
    await asLinesOfText(stage);
    await byACommand(stage);
    await byACommandThatFails(stage);
    await stoppedAtWork(stage);
    await theEndOfASubscription(stage);
    await exitCodes(stage);
  } finally {
    await agent.close();
    await rm(directory, { recursive: true, force: true });
  }
});

/** Two subscriptions: for the key that `keys` made, and for one that a library made. */
async function subscribing(stage) {
  const { agent, directory } = stage;
  const file = join(directory, 'vapid.pem');
  const key = await agent.keys(file);
  assert.equal((await stat(file)).mode & 0o777, 0o600, 'a private key is private');
  assert.equal(await agent.keys(file), key, 'a key that is there stays');
  const ours = keysFromFile(file);
  assert.equal(ours.publicKey, key, 'others read the same key from the file');
  const theirs = keysOfALibrary();
  theirs.file = join(directory, 'library.json');
  await writeFile(theirs.file, JSON.stringify({ publicKey: theirs.publicKey, privateKey: theirs.privateKey }));

  stage.subscriptions = [];
  for (const [name, keys] of [
    ['ours', ours],
    ['theirs', theirs],
  ]) {
    const line = await agent.subscribe(name, { key: keys.publicKey });
    assert.match(line, /^\{.*\}\n$/);
    const subscription = JSON.parse(line);
    assert.deepEqual(Object.keys(subscription), ['endpoint', 'expirationTime', 'keys']);
    assert.deepEqual(Object.keys(subscription.keys).sort(), ['auth', 'p256dh']);
    assert.equal(await agent.subscribe(name, { key: keys.publicKey }), line, 'asked again, it is the same');
    stage.subscriptions.push({ name, keys, subscription });
  }
  assert.deepEqual(await agent.list(), [
    ['ours', 'ready'],
    ['theirs', 'ready'],
  ]);
}

/** Every text from every sender to every subscription, signed with its key. */
async function everySenderIsUnderstood({ agent, senders, subscriptions }) {
  const listener = agent.listen('--format', 'json');
  for (const sender of senders) {
    for (const { name, keys, subscription } of subscriptions) {
      for (const text of TEXTS) {
        await accepted(sender, { subscription, keys, text });
        assert.deepEqual(await listener.message(), [name, text], sender);
      }
    }
  }
  assert.equal(await listener.stop(), 0, listener.said);
}

/** A message without a body is null, one in which nothing is encrypted is empty, and bytes are bytes. */
async function messagesWithoutText({ agent, senders, subscriptions: [{ name, keys, subscription }] }) {
  const listener = agent.listen('--format', 'json');
  for (const sender of senders) {
    await accepted(sender, { subscription, keys, text: null });
    assert.deepEqual(await listener.message(), [name, null], sender);
  }
  for (const sender of senders.filter((sender) => sender !== 'pywebpush')) {
    await accepted(sender, { subscription, keys, base64: '' });
    assert.deepEqual(await listener.message(), [name, ''], sender);
  }
  if (senders.includes('web-push')) {
    await accepted('web-push', { subscription, keys, base64: 'AP/+' });
    assert.deepEqual(await listener.message(), [name, { base64: 'AP/+' }]);
  }
  assert.equal(await listener.stop('SIGINT'), 0, listener.said);
}

/** Libraries still send by the draft before RFC 8291 if they are told to, and some senders tell them to. */
async function theDraftBeforeTheStandard({ agent, senders, subscriptions: [{ name, keys, subscription }] }) {
  const listener = agent.listen('--format', 'json');
  for (const sender of senders.filter((sender) => sender !== 'user-agent-client')) {
    for (const text of TEXTS.slice(0, 2)) {
      await accepted(sender, { subscription, keys, text, contentEncoding: 'aesgcm' });
      assert.deepEqual(await listener.message(), [name, text], sender);
    }
  }
  assert.equal(await listener.stop(), 0, listener.said);
}

/** A subscription takes messages from its application server only. */
async function theWrongKey({ senders, subscriptions: [{ subscription }, { keys }] }) {
  for (const sender of senders) {
    const answer = await send(sender, { subscription, keys, text: 'from somebody else' });
    assert.ok(answer.status >= 400 && answer.status < 404, `${sender}: ${answer.status} ${answer.body}`);
  }
}

/** What was sent while no user agent listened arrives later, in order, and replaced by its topic. */
async function whatWaited({ agent, senders, subscriptions: [{ name, keys, subscription }] }) {
  const expected = [];
  for (const [at, sender] of senders.entries()) {
    const topic = `topic-${at}`;
    await accepted(sender, { subscription, keys, text: 'replaced', topic, urgency: 'low' });
    await accepted(sender, { subscription, keys, text: `by ${sender}`, topic, urgency: 'high' });
    expected.push([name, `by ${sender}`]);
  }
  const listener = agent.listen('--format', 'json', '--count', String(expected.length));
  for (const message of expected) assert.deepEqual(await listener.message(), message);
  assert.equal(await listener.end(), 0, listener.said);
  assert.deepEqual(listener.unread, []);
}

/** Lines of text: one for each message, whatever is in it. */
async function asLinesOfText({ agent, subscriptions: [{ keys, subscription }] }) {
  const texts = [TEXTS[0], TEXTS[1], null];
  for (const text of texts) await accepted('pywebpush', { subscription, keys, text });
  const listener = agent.listen('--count', String(texts.length));
  assert.equal(await listener.line(), TEXTS[0]);
  assert.equal(await listener.line(), TWO_LINES_AS_TEXT);
  assert.equal(await listener.line(), '');
  assert.equal(await listener.end(), 0, listener.said);
}

/** --exec gets each message byte by byte, with its subscription and attempt beside it. */
async function byACommand({ agent, directory, subscriptions: [{ name, keys, subscription }] }) {
  const file = join(directory, 'received');
  await accepted('pywebpush', { subscription, keys, text: TEXTS[1] });
  const command = `{ printf '%s %s ' "$PUSH_SUBSCRIPTION" "$PUSH_ATTEMPT"; test -n "$PUSH_MESSAGE_ID" && cat; } > '${file}'`;
  const listener = agent.listen('--exec', command, '--count', '1');
  assert.equal(await listener.end(), 0, listener.said);
  assert.equal(await readFile(file, 'utf8'), `${name} 1 ${TEXTS[1]}`);
}

/** A command that fails is tried again, then the message is given up, and that is said; the one behind it arrives. */
async function byACommandThatFails({ agent, directory, subscriptions: [{ keys, subscription }] }) {
  const file = join(directory, 'attempts');
  await accepted('pywebpush', { subscription, keys, text: 'bad' });
  await accepted('pywebpush', { subscription, keys, text: 'good' });
  const command = `text=$(cat); echo "$text $PUSH_ATTEMPT" >> '${file}'; test "$text" = good`;
  const listener = agent.listen('--exec', command, '--attempts', '2');
  await listener.hears(/given up/);
  assert.equal(await listener.stop(), 0, listener.said);
  assert.deepEqual((await readFile(file, 'utf8')).trim().split('\n').sort(), ['bad 1', 'bad 2', 'good 1']);

  await accepted('pywebpush', { subscription, keys, text: 'after it' });
  const next = agent.listen('--format', 'json', '--count', '1');
  assert.equal((await next.message())[1], 'after it', 'what was given up does not come again');
  assert.equal(await next.end(), 0, next.said);
}

/** A signal lets the command finish that is at work: its message counts, and the one behind it stays with the service. */
async function stoppedAtWork({ agent, directory, subscriptions: [{ name, keys, subscription }] }) {
  const [begun, go] = [join(directory, 'begun'), join(directory, 'go')];
  execFileSync('mkfifo', [begun, go]);
  await accepted('pywebpush', { subscription, keys, text: 'worked on' });
  await accepted('pywebpush', { subscription, keys, text: 'behind it' });
  const listener = agent.listen('--exec', `echo > '${begun}'; cat '${go}'`);
  await readFile(begun);
  const ended = listener.stop();
  await writeFile(go, 'finished\n');
  assert.equal(await ended, 0, listener.said);
  assert.deepEqual(listener.unread, ['finished']);
  const next = agent.listen('--format', 'json', '--count', '1');
  assert.deepEqual(await next.message(), [name, 'behind it']);
  assert.equal(await next.end(), 0, next.said);
}

/** An ended subscription is gone for its senders and from the list, and the other one is not. */
async function theEndOfASubscription({ agent, senders, subscriptions: [ended, other] }) {
  const { code, said } = await agent.unsubscribe(ended.name);
  assert.equal(code, 0, said);
  assert.deepEqual(await agent.list(), [[other.name, 'ready']]);
  for (const sender of senders) {
    const answer = await send(sender, { subscription: ended.subscription, keys: ended.keys, text: 'too late' });
    assert.equal(answer.status, 410, `${sender} to an ended subscription: ${answer.body}`);
  }
  await accepted('pywebpush', { subscription: other.subscription, keys: other.keys, text: 'still there' });
  const listener = agent.listen('--format', 'json', '--count', '1');
  assert.deepEqual(await listener.message(), [other.name, 'still there']);
  assert.equal(await listener.end(), 0, listener.said);
}

/** Scripts go by the exit codes, people by the sentence beside them. */
async function exitCodes({ agent, directory, subscriptions: [{ keys, subscription }] }) {
  const { state } = agent;
  const elsewhere = join(directory, 'elsewhere');
  const file = join(directory, 'subscription.json');
  await writeFile(file, JSON.stringify(subscription));
  const nobody = `ws://127.0.0.1:${await freePort()}/`;
  const rows = [
    [2, ['listen', '--count', '0'], '--count'],
    [2, ['subscribe', '--server', 'quic://localhost/', '--state', elsewhere], 'QUIC'],
    [2, ['listen', '--state', elsewhere], 'make one with `subscribe`'],
    [3, ['listen', '--state', join(directory, 'nowhere')], 'nowhere'],
    [2, ['unsubscribe', '--state', state, '--name', 'nobody'], 'nobody'],
    [3, ['list', '--state', join(directory, 'nowhere')], 'nowhere'],
    [4, ['subscribe', '--server', nobody, '--state', join(directory, 'new'), '--timeout', '1'], 'stopped waiting after 1 s'],
    [2, ['send', '--subscription', file, '--vapid-key', join(directory, 'no.pem'), 'x'], 'no.pem'],
    [2, ['send', '--subscription', keys.file, 'x'], keys.file],
    [5, ['send', '--subscription', file, '--vapid-key', keys.file, '--insecure', 'x'], 'Delete it'],
    [2, ['send', '--subscription', file, 'x'.repeat(3994)], '3993'],
  ];
  for (const [expected, args, sentence] of rows) {
    const { code, output, said } = await agent.run(...args);
    assert.equal(code, expected, `${args.join(' ').slice(0, 200)}: ${said}`);
    assert.equal(output, '', 'nothing that a script would take for an answer');
    assert.ok(said.includes(sentence), `"${sentence}" is not in: ${said}`);
    assert.ok(!said.includes('panicked'), said);
  }
}

async function accepted(sender, order) {
  const answer = await send(sender, order);
  assert.equal(answer.status, 201, `${sender}: ${answer.body}`);
  assert.ok(answer.location, `${sender}: the message has an address`);
}
