// Without scripts: every page is read, a job is submitted, the playground answers.

import assert from "node:assert/strict";
import { test } from "node:test";

import { MODEL, SAMPLES, withPage, world } from "./world.js";

const OPTIONS = { javaScriptEnabled: false };

test("pages are read without scripts", async () => {
  await withPage(async (page) => {
    for (const [address, heading] of [
      ["/", /./], ["/ui/jobs/new", /New job/], [`/ui/jobs/${world.job}`, /annual reports/], ["/ui/datasets", /Datasets/],
      ["/ui/models", /Models/], ["/ui/playground", /Playground/], ["/ui/api", /API/],
    ]) {
      await page.goto(address);
      assert.match(await page.textContent("main h1"), heading, address);
    }
    await page.goto(`/ui/jobs/${world.job}`);
    assert.ok((await page.locator("#epochs table >> nth=0 >> tbody tr").count()) >= 2, "the table is there");
  }, OPTIONS);
});

test("the playground answers without scripts", async () => {
  await withPage(async (page) => {
    await page.goto("/ui/playground");
    await page.fill("#query", "What did passenger crossings contribute?");
    await page.getByRole("button", { name: "Search" }).click();
    await page.locator(".list").first().waitFor();
    assert.ok((await page.locator(".hits li").count()) >= 5);
  }, OPTIONS);
});

test("a file is uploaded and a job is submitted without scripts", async () => {
  await withPage(async (page) => {
    await page.goto("/ui/datasets");
    await page.getByText("Upload a file of pairs").click();
    await page.setInputFiles("#upload input[name=file]", SAMPLES.eval);
    await page.fill("#upload input[name=name]", "without scripts");
    await page.click("#upload button[type=submit]");
    await page.waitForURL(/\/ui\/datasets\/[0-9a-f-]{36}$/);
    const dataset = page.url().split("/").at(-1);
    await page.goto(`/ui/jobs/new?dataset=${dataset}`);
    await page.selectOption("#base_model", MODEL);
    await page.fill('[id="training.epochs"]', "0");
    await page.getByRole("button", { name: "Start the job" }).click();
    assert.ok((await page.locator(".field-error").count()) > 0, "what is wrong stands beside its field");
    await page.fill('[id="training.epochs"]', "1");
    await page.getByRole("button", { name: "Start the job" }).click();
    await page.waitForURL(/\/ui\/jobs\/[0-9a-f-]{36}$/);
    const job = page.url().split("/").at(-1);
    await page.getByRole("button", { name: /^Cancel/ }).first().click();
    const { status, cancel_requested } = await world.server.call("GET", `/v1/jobs/${job}`);
    assert.ok(status === "cancelled" || cancel_requested, status);
  // The form that is wrong is answered as such.
  }, { ...OPTIONS, expected: [/status of 422/] });
});
