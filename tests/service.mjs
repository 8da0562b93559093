// One push service for a test with guests from elsewhere: configured, started, asked where it listens, stopped.
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
import { run } from './command.mjs';

const START_WITHIN_MS = 20_000;
const STOP_WITHIN_MS = 20_000;

export class Service {
  #binary;
  #process;
  #directory;
  #file;
  #log = [];

  /** Starts the binary with a configuration of its own in a directory of its own, and waits until it listens. */
  static async start(binary, settings) {
    const service = await Service.configure(binary, settings);
    await service.launch();
    return service;
  }

  /**
   * A service that does not run yet. The settings are the addresses of its listeners (`http`, `tls`), and if they are
   * wanted `admin`, `publicUrl`, `storageUrl` (without it an embedded store of its own), `sealingKeys`, and further `lines`.
   */
  static async configure(binary, settings) {
    const service = new Service();
    service.#binary = binary;
    service.#directory = await mkdtemp(join(tmpdir(), 'push-service-test-'));
    service.#file = join(service.#directory, 'push-service.toml');
    await writeFile(service.#file, configuration({ ...settings, directory: service.#directory }));
    return service;
  }

  /** Starts the process, and waits until it listens. */
  async launch() {
    this.#process = spawn(this.#binary, ['serve', '--config', this.#file], {
      env: environment(),
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.addresses = await this.#listening();
  }

  /** Runs another command of the service to its end, with this configuration. */
  async runs(...words) {
    return run(this.#binary, [...words, '--config', this.#file], { env: environment() });
  }

  /** What the process wrote, for the report of a test that failed. */
  get log() {
    return this.#log.join('\n');
  }

  /** Ends the process, and kills it if it does not leave when asked. SIGINT does not wait for load balancers. */
  async end(signal) {
    if (!this.#process || this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = once(this.#process, 'exit');
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), STOP_WITHIN_MS);
    this.#process.kill(signal);
    await ended;
    clearTimeout(timer);
  }

  /** Ends the process, and all that it kept goes with it. */
  async stop(signal = 'SIGTERM') {
    await this.end(signal);
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
        resolve({
          http: first(record.http),
          tls: first(record.tls),
          admin: first(record.admin),
          publicUrl: record.public_url,
        });
      });
    });
  }
}

/** Without the variables that are for the tests: the service refuses those that have its name and that it does not know. */
function environment() {
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith('PUSH_SERVICE_'));
  return Object.fromEntries(others);
}

/** A port of loopback that is free at this moment: for an origin that must be known before the service starts. */
export async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  return port;
}

function configuration({ http, tls = [], admin = '127.0.0.1:0', publicUrl, storageUrl, sealingKeys = [], lines = [], directory }) {
  const quoted = (list) => `[${list.map((entry) => JSON.stringify(entry)).join(', ')}]`;
  return [
    publicUrl ? `public_url = ${JSON.stringify(publicUrl)}` : '',
    '[listen]',
    `http = ${quoted(http)}`,
    `tls = ${quoted(tls)}`,
    `admin = ${quoted([admin])}`,
    '[tls]',
    `self_signed = ${tls.length > 0}`,
    '[storage]',
    `url = ${JSON.stringify(storageUrl ?? `embedded:${join(directory, 'data')}`)}`,
    '[security]',
    `sealing_keys = ${quoted(sealingKeys)}`,
    ...lines,
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
