// The web application whose users receive push messages: serves its page and collects what its service worker reports.
//
// Why it exists: the worker's reports are the only proof that a message came out decrypted at the far end. The site
// outlives the browser, so that a browser that starts again finds its origin, and with it its worker, unchanged.
// It knows nothing of the push service.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { json } from 'node:stream/consumers';

const FILES = {
  '/': ['index.html', 'text/html; charset=utf-8'],
  '/worker.js': ['worker.js', 'text/javascript; charset=utf-8'],
};

export class Site {
  #server;
  #reports = [];
  #waiting = [];

  /** Serves on a free port of `localhost`, which browsers take for a secure context. */
  static async start() {
    const site = new Site();
    site.#server = createServer((request, answer) => site.#serve(request, answer));
    await new Promise((resolve, reject) => {
      site.#server.once('error', reject).listen(0, 'localhost', resolve);
    });
    return site;
  }

  get origin() {
    return `http://localhost:${this.#server.address().port}`;
  }

  /** The next report of the worker, in order of arrival; rejects when none came within the deadline. */
  nextReport(deadlineMs) {
    const ready = this.#reports.shift();
    if (ready) return Promise.resolve(ready);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter((entry) => entry.resolve !== resolve);
        reject(new Error(`the service worker reported nothing within ${deadlineMs} ms`));
      }, deadlineMs);
      this.#waiting.push({ resolve, timer });
    });
  }

  /** What was reported and not yet asked for. */
  get unread() {
    return this.#reports;
  }

  close() {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #serve(request, answer) {
    if (request.method === 'POST' && request.url === '/reports') {
      this.#report(await json(request));
      answer.writeHead(204).end();
      return;
    }
    const file = FILES[request.url];
    if (!file) {
      answer.writeHead(404).end();
      return;
    }
    const content = await readFile(new URL(`site/${file[0]}`, import.meta.url));
    answer.writeHead(200, { 'content-type': file[1], 'cache-control': 'no-store' }).end(content);
  }

  #report(report) {
    const next = this.#waiting.shift();
    if (!next) {
      this.#reports.push(report);
      return;
    }
    clearTimeout(next.timer);
    next.resolve(report);
  }
}
