// The network between Firefox and the service: it leads where it is told, can be cut, and tells what went over it.
//
// Why it exists: a running Firefox always comes back, so messages wait for it only while its network is gone; and the
// order in which the service delivers shows on the wire only, because Firefox hands over in an order of its own.
// Firefox knows this one address, as it would a load balancer's. Of the protocol the link knows what a notification and
// an acknowledgement are.

import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { Texts } from './texts.mjs';

/** A browser acknowledges when its worker has the message; a loaded machine may take a while. */
const ACKNOWLEDGED_WITHIN_MS = 20_000;

export class Link {
  #server;
  #target = null;
  #held = [];
  #open = new Set();
  #waiting = [];
  #acknowledged = 0;

  /** What the service has delivered over it, oldest first, repeats included. */
  delivered = [];

  /** It leads nowhere at first. */
  static async start() {
    const link = new Link();
    link.#server = createServer((socket) => link.#welcome(socket)).listen(0, '127.0.0.1');
    await once(link.#server, 'listening');
    return link;
  }

  /** The service's address, as Firefox knows it. */
  get serverUrl() {
    return `ws://127.0.0.1:${this.#server.address().port}/`;
  }

  /** From now on it leads to this listener of a service, also for those who came while it was cut. */
  leadTo(address) {
    this.#target = address;
    for (const socket of this.#held.splice(0)) this.#join(socket);
  }

  /** Ends all connections, after what was on its way. Who comes now hears nothing until it leads somewhere again. */
  cut() {
    this.#target = null;
    for (const socket of this.#open) socket.end();
  }

  /** Waits until the browser has acknowledged so many messages in all. */
  acknowledged(count) {
    return new Promise((resolve, reject) => {
      if (this.#acknowledged >= count) return resolve();
      const entry = { count, resolve };
      entry.timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter((other) => other !== entry);
        reject(new Error(`${this.#acknowledged} of ${count} messages were acknowledged in time`));
      }, ACKNOWLEDGED_WITHIN_MS);
      this.#waiting.push(entry);
    });
  }

  close() {
    for (const socket of [...this.#open, ...this.#held]) socket.destroy();
    this.#server.close();
  }

  #welcome(socket) {
    socket.on('error', () => {});
    if (this.#target === null) this.#held.push(socket);
    else this.#join(socket);
  }

  #join(browser) {
    const [host, port] = this.#target.split(':');
    const service = connect(Number(port), host);
    service.on('error', () => {});
    const ways = [
      [browser, service, 'browser'],
      [service, browser, 'service'],
    ];
    for (const [from, to, name] of ways) {
      this.#open.add(from);
      const texts = new Texts((text) => this.#hear(name, JSON.parse(text)));
      from.on('data', (bytes) => texts.take(bytes));
      from.on('close', () => {
        this.#open.delete(from);
        to.end();
      });
      from.pipe(to);
    }
  }

  #hear(from, message) {
    if (from === 'service' && message.messageType === 'notification') this.delivered.push(message);
    if (from !== 'browser' || message.messageType !== 'ack') return;
    this.#acknowledged += message.updates.length;
    this.#waiting = this.#waiting.filter(({ count, resolve, timer }) => {
      if (this.#acknowledged < count) return true;
      clearTimeout(timer);
      resolve();
      return false;
    });
  }
}
