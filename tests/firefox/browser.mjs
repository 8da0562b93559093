// A real Firefox, headless, with its real PushManager pointed at the service under test.
//
// Why it exists: what Firefox needs to be told (preferences, permissions, its profile) stands here once. It knows the
// page's three functions by name and nothing about how messages are sent.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import puppeteer from 'puppeteer-core';

/** A Firefox profile on disk: what stays when the browser is closed. */
export class Profile {
  static async create() {
    const profile = new Profile();
    profile.directory = await mkdtemp(join(tmpdir(), 'push-service-profile-'));
    return profile;
  }

  /** Starts Firefox on this profile. `serverUrl` is the WebSocket origin of the push service. */
  async open(executablePath, serverUrl) {
    return puppeteer.launch({
      browser: 'firefox',
      executablePath,
      headless: true,
      acceptInsecureCerts: true,
      userDataDir: this.directory,
      extraPrefsFirefox: preferences(serverUrl),
    });
  }

  async remove() {
    await rm(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Opens the site's page, and offers its functions. */
export async function visit(browser, origin) {
  const page = await browser.newPage();
  await page.goto(`${origin}/`);
  return {
    subscribe: (key) => page.evaluate((key) => window.subscribe(key), key),
    subscription: () => page.evaluate(() => window.subscription()),
    unsubscribe: () => page.evaluate(() => window.unsubscribe()),
  };
}

function preferences(serverUrl) {
  return {
    'dom.push.enabled': true,
    // The preferences recommended for remote control switch it off.
    'dom.push.connection.enabled': true,
    'dom.push.serverURL': serverUrl,
    'dom.push.testing.allowInsecureServerURL': serverUrl.startsWith('ws:'),
    // Grants notifications, and with them push, without a prompt.
    'permissions.default.desktop-notification': 1,
  };
}
