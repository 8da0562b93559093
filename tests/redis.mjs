// One Redis for a test: started on a free port with nothing in it, gone with all that was in it.
//
// Why it exists: services that share a storage need one that is theirs alone. What Redis promises and what it loses is
// tested elsewhere; this one keeps everything in memory.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Follower } from './command.mjs';
import { freePort } from './service.mjs';

const PROGRAM = process.env.REDIS_SERVER || 'redis-server';
const START_WITHIN_MS = 20_000;

export class Redis {
  #program;
  #directory;

  static async start() {
    const redis = new Redis();
    const port = await freePort();
    redis.url = `redis://127.0.0.1:${port}`;
    redis.#directory = await mkdtemp(join(tmpdir(), 'push-service-redis-'));
    const place = ['--bind', '127.0.0.1', '--port', String(port), '--dir', redis.#directory];
    redis.#program = new Follower(PROGRAM, [...place, '--save', '']);
    while (!(await redis.#program.nextLine(START_WITHIN_MS)).includes('Ready to accept connections'));
    return redis;
  }

  async stop() {
    await this.#program.kill();
    await rm(this.#directory, { recursive: true, force: true });
  }
}
