// A real Firefox, headless, in one colour scheme, that notices what a page does wrong.
//
// Why it exists: a page may look right and still break its own policy, or write errors that nobody reads. It knows nothing of the
// pages that it opens.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import puppeteer from 'puppeteer-core';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export const DESKTOP = { width: 1280, height: 900 };
export const PHONE = { width: 390, height: 844 };

/** How long a page may take for anything. It takes far less; a loaded machine is slower. */
const WITHIN_MS = 20_000;

export class Browser {
  #firefox;

  static async open(executablePath, scheme) {
    const browser = new Browser();
    browser.scheme = scheme;
    browser.#firefox = await puppeteer.launch({
      browser: 'firefox',
      executablePath,
      headless: true,
      acceptInsecureCerts: true,
      extraPrefsFirefox: {
        'layout.css.prefers-color-scheme.content-override': scheme === 'dark' ? 0 : 1,
        'ui.prefersReducedMotion': 1,
      },
    });
    return browser;
  }

  /** Opens a page. Its violations and errors are noticed from its first moment on. */
  async visit(url, viewport) {
    const page = await this.#firefox.newPage();
    const seen = new Page(page, `${this.scheme}, ${viewport.width} wide`);
    await page.setViewport(viewport);
    await page.evaluateOnNewDocument(() => {
      window.violations = [];
      document.addEventListener('securitypolicyviolation', (event) => {
        window.violations.push(`${event.violatedDirective}: ${event.blockedURI}`);
      });
      document.addEventListener('DOMContentLoaded', () => {
        window.served = [...document.querySelectorAll('[data-value]')].map((element) => element.textContent);
      });
    });
    await page.goto(url, { timeout: WITHIN_MS });
    return seen;
  }

  close() {
    return this.#firefox.close();
  }
}

class Page {
  #errors = [];

  constructor(page, name) {
    this.page = page;
    this.name = name;
    page.on('console', (message) => message.type() === 'error' && this.#errors.push(message.text()));
    page.on('pageerror', (error) => this.#errors.push(String(error)));
  }

  /** Waits until `look`, which runs in the page, returns something true, and returns that. */
  async until(what, look, ...given) {
    try {
      const found = await this.page.waitForFunction(look, { timeout: WITHIN_MS, polling: 50 }, ...given);
      return found.jsonValue();
    } catch (error) {
      const text = await this.page.evaluate(() => document.body.innerText);
      throw new Error(`${this.name}: not within ${WITHIN_MS} ms: ${what}; the page says:\n${text}`, { cause: error });
    }
  }

  evaluate(look, ...given) {
    return this.page.evaluate(look, ...given);
  }

  press(key) {
    return this.page.keyboard.press(key);
  }

  /** Nothing broke the policy of the page, and nothing was written as an error. */
  async isClean() {
    const violations = await this.page.evaluate(() => window.violations);
    assert.deepEqual({ violations, errors: this.#errors }, { violations: [], errors: [] }, this.name);
  }

  /** axe-core finds nothing, and nothing is wider than the window. */
  async isAccessible() {
    await this.page.evaluate(AXE);
    const { found, rules } = await this.page.evaluate(async () => {
      const { violations, passes } = await window.axe.run();
      const nodes = (rule) => rule.nodes.map((node) => `${node.target}: ${node.failureSummary}`).join('\n');
      return { found: violations.map((rule) => `${rule.impact} ${rule.id}: ${nodes(rule)}`), rules: passes.length };
    });
    assert.deepEqual(found, [], `${this.name}: axe-core`);
    assert.ok(rules > 10, `${this.name}: axe-core looked at ${rules} rules only`);
    const wide = await this.page.evaluate(() => {
      const width = document.documentElement.clientWidth;
      const isWide = (element) => element.getBoundingClientRect().right > width + 0.5 && !element.closest('svg, pre');
      return [...document.querySelectorAll('body *')].filter(isWide).map((element) => element.outerHTML.slice(0, 80));
    });
    assert.deepEqual(wide, [], `${this.name}: wider than the window`);
    return rules;
  }

  /** A picture of the whole page. */
  picture(path) {
    return this.page.screenshot({ path, fullPage: true });
  }

  close() {
    return this.page.close();
  }
}
