// The API page's code does what it says, as it stands there.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

import { withPage, world } from "./world.js";

test("the code for a shell and for JavaScript runs as it is copied", async () => {
  await withPage(async (page) => {
    await page.goto(`/ui/api?model=job:${world.job}`);
    const dimension = Number((await page.locator("#dimensions option").nth(1).textContent()).trim());
    const copy = async (language) => {
      const button = page.getByRole("button", { name: `Copy the ${language} code` });
      await button.click();
      await button.and(page.getByText("Copied")).waitFor();
      return page.evaluate(() => navigator.clipboard.readText());
    };
    const answer = JSON.parse(execFileSync("sh", ["-c", await copy("curl")], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
    assert.equal(answer.data[0].embedding.length, dimension);
    const script = (await copy("JavaScript")).replace("console.log(data[0].embedding)", "console.log(data[0].embedding.length)");
    const printed = execFileSync("node", ["--input-type=module", "--eval", script], { encoding: "utf8" });
    assert.equal(Number(printed), dimension);
  });
});

test("the reference shows every route", async () => {
  await withPage(async (page) => {
    await page.goto("/ui/api/reference");
    await page.locator(".opblock").first().waitFor();
    const document = await world.server.call("GET", "/openapi.json");
    const count = Object.values(document.paths).flatMap((item) => Object.keys(item)).filter((key) => /^(get|put|post|delete)$/.test(key)).length;
    assert.equal(await page.locator(".opblock").count(), count);
    await page.locator(".opblock").first().click();
    await page.locator(".opblock.is-open .responses-table").first().waitFor();
  });
});
