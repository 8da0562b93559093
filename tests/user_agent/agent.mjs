// Our user agent's command with a state directory of its own: each of its words as a function.
//
// Why it exists: the script that plays a user agent's life should read like one. It knows the command line and how long
// things may take, and nothing of what is tested.

import assert from 'node:assert/strict';
import { Follower, run } from '../command.mjs';

/** A connected user agent has a message within milliseconds; a loaded machine is slower. */
const ARRIVES_WITHIN_MS = 20_000;

export class Agent {
  #binary;
  #connecting;
  #listeners = [];

  /** `state` is a directory that need not be there; `insecure` accepts the certificate that a service made for itself. */
  constructor(binary, { server, state, insecure }) {
    this.#binary = binary;
    this.state = state;
    this.#connecting = ['--state', state, ...(insecure ? ['--insecure'] : [])];
    this.server = server;
  }

  /** Any command line, to its end: `code`, `output`, `said`. */
  run(...args) {
    return run(this.#binary, args);
  }

  /** What `subscribe` prints, as it is. */
  async subscribe(name, { key } = {}) {
    const restricted = key ? ['--application-server-key', key] : [];
    return this.#succeeds('subscribe', '--server', this.server, ...this.#connecting, '--name', name, ...restricted);
  }

  unsubscribe(name) {
    return this.run('unsubscribe', ...this.#connecting, '--name', name);
  }

  /** The lines of `list`, each as its fields. */
  async list() {
    const output = await this.#succeeds('list', '--state', this.state);
    return output
      .split('\n')
      .filter(Boolean)
      .map((line) => line.split('\t'));
  }

  /** The public key that `keys` prints. */
  async keys(file) {
    return (await this.#succeeds('keys', '--vapid-key', file)).trim();
  }

  /** `listen`, going on until it is stopped. The state knows its service by now. */
  listen(...args) {
    const listener = new Listener(this.#binary, ['listen', ...this.#connecting, ...args]);
    this.#listeners.push(listener);
    return listener;
  }

  /** For the end of a test that may have failed. */
  async close() {
    for (const listener of this.#listeners) await listener.kill();
  }

  async #succeeds(...args) {
    const { code, output, said } = await this.run(...args);
    assert.equal(code, 0, `${args[0]}: ${said}`);
    return output;
  }
}

class Listener extends Follower {
  /** The next message in JSON: `[subscription, text]`, or `base64` in place of a text. */
  async message() {
    const { subscription, id, text, base64 } = JSON.parse(await this.line());
    assert.ok(id, 'a message has an id');
    return [subscription, text ?? (base64 === undefined ? text : { base64 })];
  }

  line() {
    return this.nextLine(ARRIVES_WITHIN_MS);
  }

  /** Waits until it has said what matches. */
  hears(pattern) {
    return this.says(pattern, ARRIVES_WITHIN_MS);
  }
}
