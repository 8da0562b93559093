// One push service process for a test with guests from elsewhere: started, asked where it listens, stopped.
//
// Why it exists: such a test is a guest of the service like any other; it knows the command line, the configuration
// file and the log line that names the listeners, and nothing else. The Rust harness has the same for the black-box
// tests; the two share no code because they share no language.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const START_WITHIN_MS = 20_000;
const STOP_WITHIN_MS = 20_000;

export class Service {
  #process;
  #directory;
  #log = [];

  /** Starts the binary with a configuration of its own in a directory of its own, and waits until it listens. */
  static async start(binary, { http, tls, publicUrl }) {
    const service = new Service();
    service.#directory = await mkdtemp(join(tmpdir(), 'push-service-test-'));
    const file = join(service.#directory, 'push-service.toml');
    await writeFile(file, configuration({ http, tls, publicUrl, directory: service.#directory }));
    service.#process = spawn(binary, ['serve', '--config', file], { stdio: ['ignore', 'ignore', 'pipe'] });
    service.addresses = await service.#listening();
    return service;
  }

  /** What the process wrote, for the report of a test that failed. */
  get log() {
    return this.#log.join('\n');
  }

  /** Asks it to leave, and kills it if it does not. */
  async stop() {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const ended = once(this.#process, 'exit');
      const timer = setTimeout(() => this.#process.kill('SIGKILL'), STOP_WITHIN_MS);
      this.#process.kill('SIGTERM');
      await ended;
      clearTimeout(timer);
    }
    await rm(this.#directory, { recursive: true, force: true });
  }

  #listening() {
    return new Promise((resolve, reject) => {
      const fail = (why) => reject(new Error(`${why}; it said:\n${this.log}`));
      const timer = setTimeout(() => {
        this.#process.kill('SIGKILL');
        fail(`the service did not listen within ${START_WITHIN_MS} ms`);
      }, START_WITHIN_MS);
      this.#process.once('error', (error) => fail(`the service does not start: ${error.message}`));
      this.#process.once('exit', (code) => {
        clearTimeout(timer);
        fail(`the service ended with ${code}`);
      });
      createInterface({ input: this.#process.stderr }).on('line', (line) => {
        this.#log.push(line);
        const record = listeningRecord(line);
        if (!record) return;
        clearTimeout(timer);
        resolve({ http: first(record.http), tls: first(record.tls), publicUrl: record.public_url });
      });
    });
  }
}

/** A port of loopback that nobody uses at this moment: for an origin that must be known before the service starts. */
export async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  return port;
}

function configuration({ http, tls, publicUrl, directory }) {
  const quoted = (list) => `[${list.map((entry) => JSON.stringify(entry)).join(', ')}]`;
  return [
    publicUrl ? `public_url = ${JSON.stringify(publicUrl)}` : '',
    '[listen]',
    `http = ${quoted(http)}`,
    `tls = ${quoted(tls)}`,
    'admin = ["127.0.0.1:0"]',
    '[tls]',
    `self_signed = ${tls.length > 0}`,
    '[storage]',
    `url = ${JSON.stringify(`embedded:${join(directory, 'data')}`)}`,
    '',
  ].join('\n');
}

function listeningRecord(line) {
  try {
    const record = JSON.parse(line);
    const fields = { ...record, ...record.fields };
    return fields.message === 'listening' ? fields : null;
  } catch {
    return null;
  }
}

function first(addresses) {
  return addresses?.split(',')[0] || null;
}
