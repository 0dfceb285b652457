// Every page in every look: no serious finding of axe-core, nothing wider than the screen, and a screenshot.

import assert from "node:assert/strict";
import { test } from "node:test";

import { LOOKS, screenshot, show, violations } from "./browser.js";
import { MODEL, withPage, world } from "./world.js";

const PAGES = {
  home: () => "/",
  "new-job": () => "/ui/jobs/new",
  job: () => `/ui/jobs/${world.job}`,
  jobs: () => "/ui/jobs",
  log: () => `/ui/jobs/${world.job}/log`,
  "delete-job": () => `/ui/jobs/${world.job}/delete`,
  datasets: () => "/ui/datasets",
  dataset: () => `/ui/datasets/${world.dataset}`,
  "delete-dataset": () => `/ui/datasets/${world.dataset}/delete`,
  models: () => "/ui/models",
  "delete-model": () => `/ui/models/delete?name=${encodeURIComponent(MODEL)}`,
  playground: () => `/ui/playground?job=${world.job}&query=${encodeURIComponent("Why did the ferry business earn less?")}`,
  api: () => `/ui/api?model=job:${world.job}&dimensions=`,
  "api-reference": () => "/ui/api/reference",
  "not-found": () => "/ui/nowhere",
};

/** Swagger UI puts links into buttons. */
const NOT_OURS = { "api-reference": [".opblock-summary-control"] };

for (const [name, address] of Object.entries(PAGES)) {
  test(`the page ${name} in light, dark and narrow`, async () => {
    const expected = name === "not-found" ? [/status of 404/] : [];
    await withPage(async (page) => {
      await page.goto(address());
      if (name === "api-reference") await page.locator(".opblock").first().waitFor();
      await page.waitForLoadState("networkidle");
      for (const look of LOOKS) {
        await show(page, look);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${look.name}: the page is ${wide} pixels wider than the screen`);
        await screenshot(page, `${name}-${look.name}`);
        const found = await violations(page, NOT_OURS[name]);
        assert.deepEqual(found, [], `${look.name}:\n${found.join("\n")}`);
      }
      if (name === "job" && process.env.MATRYO_UPDATE_SCREENSHOT) {
        await show(page, LOOKS[0]);
        await screenshot(page, name, { path: process.env.MATRYO_UPDATE_SCREENSHOT, fullPage: false });
      }
    }, { expected });
  });
}
