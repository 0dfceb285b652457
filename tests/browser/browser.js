// Chromium, and what a page must not do: complain on the console, fail, or ask another host for anything.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import axe from "axe-core";
import { chromium } from "playwright-core";

/** Where screenshots go. */
export const SCREENSHOTS = process.env.MATRYO_SCREENSHOTS;
mkdirSync(SCREENSHOTS, { recursive: true });

const ARGUMENTS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
const WIDE = { width: 1280, height: 900 };
const NARROW = { width: 390, height: 844 };

export class Browser {
  static async start() {
    const browser = new Browser();
    browser.folder = mkdtempSync(join(tmpdir(), "matryo-chromium-"));
    browser.chromium = await chromium.launch({
      executablePath: process.env.MATRYO_CHROMIUM, headless: true, args: ARGUMENTS,
      env: { ...process.env, HOME: browser.folder },
    });
    return browser;
  }

  /** A page of its own that writes down what it does; `server` is where alone it may ask. */
  async open(server, options = {}) {
    const context = await this.chromium.newContext({
      baseURL: server.url, viewport: WIDE, colorScheme: "light", reducedMotion: "reduce", acceptDownloads: true, ...options,
    });
    await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: server.url });
    const page = await context.newPage();
    const faults = [];
    page.on("pageerror", (error) => faults.push(`error: ${error.message}`));
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) faults.push(`console: ${message.text()} (${message.location().url})`);
    });
    context.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(`${server.url}/`) && !/^(data|blob|about):/.test(url)) faults.push(`another host: ${url}`);
    });
    page.faults = faults;
    /** Complains of what has happened since it was last asked; `expected` are patterns of what may have. */
    page.checkFaults = (...expected) => {
      const unexpected = faults.splice(0).filter((fault) => !expected.some((pattern) => pattern.test(fault)));
      assert.deepEqual(unexpected, [], `on ${page.url()}`);
    };
    return page;
  }

  async stop() {
    await this.chromium.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** What axe-core finds serious or critical, in words. `exclude` leaves out what is not ours. */
export async function violations(page, exclude = []) {
  if (!(await page.evaluate("typeof axe === 'object'"))) await page.evaluate(axe.source);
  const result = await page.evaluate(
    (exclude) => globalThis.axe.run({ include: [["html"]], exclude }, { resultTypes: ["violations"] }),
    exclude.map((selector) => [selector]));
  const grave = result.violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  return grave.map(({ id, help, nodes }) =>
    `${id}: ${help}\n${nodes.slice(0, 5).map(({ html, failureSummary }) => `  ${html}\n    ${failureSummary}`).join("\n")}`);
}

/** The three looks that every page is seen in. */
export const LOOKS = [
  { name: "light", colorScheme: "light", viewport: WIDE },
  { name: "dark", colorScheme: "dark", viewport: WIDE },
  { name: "narrow", colorScheme: "light", viewport: NARROW },
];

/** Shows the page in a look. */
export async function show(page, { colorScheme, viewport }) {
  await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
  await page.setViewportSize(viewport);
}

export function screenshot(page, name, options = {}) {
  return page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true, ...options });
}
