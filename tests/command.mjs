// A program that is run and asked what it said, or that stays and is followed line by line.
//
// Why it exists: every test here runs programs, and none of them may wait for one for ever.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { createInterface } from 'node:readline';

/** Programs here end within a second; a loaded machine is slower. */
const ENDS_WITHIN_MS = 60_000;

/** Runs a program to its end, with `input` (text or bytes) as its standard input and `env` as its whole environment: its exit
 * code and what it wrote. */
export async function run(program, args, { input = '', env = process.env } = {}) {
  const child = spawn(program, args, { stdio: 'pipe', timeout: ENDS_WITHIN_MS, env });
  // A program that reads no input may be gone before it is written.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const [output, said, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { code, output, said };
}

/** A program that goes on until it is told to end, and prints lines. */
export class Follower {
  #process;
  #lines = [];
  #said = [];
  #waiting = [];
  #ended;

  constructor(program, args, { env = {} } = {}) {
    const stdio = ['ignore', 'pipe', 'pipe'];
    this.#process = spawn(program, args, { stdio, env: { ...process.env, ...env } });
    this.#ended = once(this.#process, 'close');
    createInterface({ input: this.#process.stdout }).on('line', (line) => this.#add(this.#lines, line));
    createInterface({ input: this.#process.stderr }).on('line', (line) => this.#add(this.#said, line));
    this.#ended.then(() => this.#add(this.#said, null));
  }

  /** What it wrote to standard error, for the report of a test that failed. */
  get said() {
    return this.#said.filter((line) => line !== null).join('\n');
  }

  /** The next line of its standard output. */
  nextLine(deadlineMs) {
    return this.#until('it prints a line', deadlineMs, () => this.#lines.shift());
  }

  /** A line of its standard error that matches. */
  says(pattern, deadlineMs) {
    const found = () => this.#said.find((line) => line !== null && pattern.test(line));
    return this.#until(`it says ${pattern}`, deadlineMs, found);
  }

  /** Lines that were printed and not asked for. */
  get unread() {
    return this.#lines;
  }

  /** Asks it to end, and returns its exit code. */
  async stop(signal = 'SIGTERM') {
    this.#process.kill(signal);
    return this.end();
  }

  /** Its exit code, when it has ended by itself; it is killed if it does not. */
  async end() {
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), ENDS_WITHIN_MS);
    const [code] = await this.#ended;
    clearTimeout(timer);
    return code;
  }

  /** For the end of a test that may have failed: gone, in whatever state. */
  async kill() {
    if (this.#process.exitCode === null && this.#process.signalCode === null) await this.stop('SIGKILL');
  }

  #add(list, line) {
    list.push(line);
    this.#waiting = this.#waiting.filter((look) => !look());
  }

  #until(what, deadlineMs, found) {
    return new Promise((resolve, reject) => {
      let timer;
      const look = () => {
        const result = found();
        if (result !== undefined) resolve(result);
        else if (this.#said.includes(null)) reject(new Error(`it ended before ${what}; it said:\n${this.said}`));
        else return false;
        clearTimeout(timer);
        return true;
      };
      if (look()) return;
      timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter((entry) => entry !== look);
        reject(new Error(`not within ${deadlineMs} ms: ${what}; it said:\n${this.said}`));
      }, deadlineMs);
      this.#waiting.push(look);
    });
  }
}

/** The environment variable that names a binary to test. */
export function required(variable) {
  const value = process.env[variable];
  if (!value) throw new Error(`${variable} must name the binary to test`);
  return value;
}
