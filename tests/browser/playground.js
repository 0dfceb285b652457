// The playground while a corpus is embedded, with a script and by links.

import assert from "node:assert/strict";
import { test } from "node:test";

import { withPage, world } from "./world.js";

test("a question and a dimension change the results in place", async () => {
  await withPage(async (page) => {
    await page.goto(`/ui/playground?job=${world.job}`);
    await page.evaluate(() => { globalThis.sameDocument = true; });
    const examples = await page.locator("a[data-query]").allTextContents();
    assert.ok(examples.length >= 3, examples.join("\n"));
    await page.locator("a[data-query]").nth(1).click();
    await page.locator(".hits li").first().waitFor();
    assert.equal(await page.inputValue("#query"), examples[1]);
    // An evaluation row's question: its passage is marked, and its rank is told.
    await page.getByText(/The passage that answers stands/).waitFor();
    const before = await page.locator(".score").allTextContents();
    const dimension = await page.locator("#dimensions option").last().getAttribute("value");
    await page.selectOption("#dimensions", dimension);
    await page.locator("#results").getByText(`${dimension} dimensions`).first().waitFor();
    if ((await page.locator("#dimensions option").count()) > 2) {
      assert.notDeepEqual(await page.locator(".score").allTextContents(), before);
    }
    assert.equal(await page.evaluate(() => globalThis.sameDocument), true, "the page was loaded anew");
    await page.goBack();
    await page.locator(".hits li").first().waitFor();
  });
});

test("what is wrong is told in place", async () => {
  await withPage(async (page) => {
    await page.goto(`/ui/playground?dataset=${world.dataset}&base=nowhere&tuned=&query=x`);
    await page.getByRole("alert").getByText("nowhere").waitFor();
  });
});
