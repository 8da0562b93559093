// What every scene with a Firefox stands on: a site, a profile that is empty, and an application server's key.
//
// Why it exists: the scenes differ in what happens to the service. Whatever one sets up here is taken down at its end,
// however it ends, and what its services said is shown when it failed.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { required, run } from '../command.mjs';
import { keysFromFile, send } from '../senders/senders.mjs';
import { Service } from '../service.mjs';
import { Profile, visit } from './browser.mjs';
import { Site } from './site.mjs';

const FIREFOX = process.env.FIREFOX ?? '/usr/bin/firefox-esr';

/** A connected browser has a message within milliseconds; a loaded machine may take a while to wake the worker. */
const ARRIVES_WITHIN_MS = 20_000;
/** A browser comes back by itself 5 s after its channel ended, after a failed attempt 10 s later (WS-CLS-1). */
export const RETURNS_WITHIN_MS = 45_000;

export class Stage {
  #profile;
  #browser;
  #services = [];
  #guests = [];

  /** Plays a scene from an empty stage to its end. */
  static async play(scene) {
    const stage = new Stage();
    try {
      stage.site = stage.with(await Site.start(), 'close');
      stage.#profile = stage.with(await Profile.create(), 'remove');
      stage.keys = await keysOfACommand(stage.#profile);
      await scene(stage);
    } catch (error) {
      for (const [at, service] of stage.#services.entries()) console.error(`service ${at} said:\n${service.log}`);
      throw error;
    } finally {
      await stage.close();
      for (const leave of stage.#guests.reverse()) await leave();
    }
  }

  /** Something that is ended by this method of it when the scene is over, the newest first. */
  with(guest, ending) {
    this.#guests.push(() => guest[ending]());
    return guest;
  }

  /** A service that does not run yet, and does not run on. */
  async service(settings) {
    const service = await Service.configure(required('PUSH_SERVICE_BIN'), settings);
    this.#services.push(service);
    this.#guests.push(() => service.stop('SIGINT'));
    return service;
  }

  /** Starts Firefox on the scene's profile, at the user agents' address of a service, and opens the site's page. */
  async open(serverUrl) {
    await this.start(serverUrl);
    return this.visit();
  }

  /** Starts Firefox, and opens no page: what its workers get they get unasked. */
  async start(serverUrl) {
    this.#browser = await this.#profile.open(FIREFOX, serverUrl);
  }

  async visit() {
    return visit(this.#browser, this.site.origin);
  }

  /** Closes Firefox; its profile stays. */
  async close() {
    const browser = this.#browser;
    this.#browser = null;
    await browser?.close();
  }

  /** These messages are what the worker gets next, each once, in whatever order. */
  async receives(texts, deadlineMs = ARRIVES_WITHIN_MS) {
    // Firefox decrypts and hands over side by side, so their order at the worker is its own affair.
    const reports = [];
    while (reports.length < texts.length) reports.push(await this.site.nextReport(deadlineMs));
    const expected = texts.map((text) => `message: ${text}`);
    assert.deepEqual(reports.map(({ event, text }) => `${event}: ${text}`).sort(), expected.sort());
  }
}

/** Sends a message, which the service takes in. */
export async function accepted(sender, order) {
  const answer = await send(sender, order);
  assert.equal(answer.status, 201, `${sender}: ${answer.body}`);
  // Our own command speaks of the TTL only when less was granted.
  if ('ttl' in answer) assert.equal(answer.ttl, String(order.ttl ?? 600), `${sender}: the TTL that was granted`);
  assert.ok(answer.location, `${sender}: the message has an address`);
}

/** The key that the page restricts its subscription to is the public half, as the command prints it. */
async function keysOfACommand(profile) {
  const file = join(profile.directory, 'vapid.pem');
  const { code, output, said } = await run(required('USER_AGENT_CLIENT_BIN'), ['keys', '--vapid-key', file]);
  assert.equal(code, 0, said);
  const keys = keysFromFile(file);
  assert.equal(output, `${keys.publicKey}\n`);
  return keys;
}
