// A person's way: upload a file, start a job, watch it, compare the models, take the checkpoint home.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

import { until } from "./server.js";
import { MODEL, SAMPLES, withPage, world } from "./world.js";

const EPOCHS = 3;

/** Chooses the dataset's files in the form of the page. */
async function upload(page) {
  await page.setInputFiles("#upload input[name=file]", SAMPLES.train);
  await page.setInputFiles("#upload input[name=eval_file]", SAMPLES.eval);
  await page.fill("#upload input[name=name]", "annual reports");
  await page.click("#upload button[type=submit]");
}

test("a file with bad rows is refused with their lines, and a good one becomes a dataset", async () => {
  await withPage(async (page) => {
    await page.goto("/ui/jobs/new");
    const rows = '{"anchor": "a", "positive": "b"}\n{"anchor": "c"}\n{"anchor": 7, "positive": "d"}\n';
    await page.setInputFiles("#upload input[name=file]", { name: "bad.jsonl", mimeType: "text/plain", buffer: Buffer.from(rows) });
    await page.click("#upload button[type=submit]");
    await page.getByRole("region", { name: "Bad rows" }).waitFor();
    const lines = await page.getByRole("region", { name: "Bad rows" }).locator("tbody tr td:first-child").allTextContents();
    assert.deepEqual(lines, ["2", "3"]);
  }, { expected: [/status of 4\d\d/] });
  await withPage(async (page) => {
    await page.goto("/ui/jobs/new");
    await upload(page);
    // It is chosen in the form that stands there already.
    world.dataset = await until("the dataset", () => page.inputValue("#dataset_id"));
    assert.match(await page.locator("#dataset_id option:checked").textContent(), /annual reports/);
  });
});

test("a job is started by the form, and its page moves by itself to the end", async () => {
  await withPage(async (page) => {
    await page.goto(`/ui/jobs/new?dataset=${world.dataset}`);
    await page.fill("#job [name=name]", "annual reports, 3 epochs");
    await page.selectOption("#base_model", MODEL);
    const fields = { epochs: EPOCHS, per_device_train_batch_size: 8, gradient_accumulation_steps: 1, max_seq_length: 64, learning_rate: "1e-4" };
    for (const [name, value] of Object.entries(fields)) await page.fill(`[id="training.${name}"]`, String(value));
    await page.getByText("More", { exact: true }).click();
    await page.fill('[id="training.logging_steps"]', "1");
    await page.getByRole("button", { name: "Start the job" }).click();
    await page.waitForURL(/\/ui\/jobs\/[0-9a-f-]{36}$/);
    world.job = page.url().split("/").at(-1);

    // What a reload would wipe out.
    await page.evaluate(() => { globalThis.sameDocument = true; });
    // Each point of a chart stands in the table below it, too.
    const points = () => page.locator("#loss-values tbody tr").count();
    const first = await until("the first point of the loss", points);
    const second = await until("another point", async () => (await points()) > first && points());
    await until("a third", async () => (await points()) > second);
    await page.locator(".badge.succeeded").first().waitFor({ timeout: 600_000 });
    assert.equal(await page.evaluate(() => globalThis.sameDocument), true, "the page was loaded anew");

    await page.reload();
    const epochs = await page.locator("#epochs table >> nth=0 >> tbody th").allTextContents();
    assert.equal(epochs.length, EPOCHS + 1, `the baseline and each epoch: ${epochs}`);
  });
});

test("the playground's lists differ between the base and the fine-tuned model", async () => {
  await withPage(async (page) => {
    await page.goto(`/ui/playground?job=${world.job}`);
    await page.locator("a[data-query]").first().click();
    await page.locator(".list").nth(1).waitFor();
    const lists = await page.locator(".list").evaluateAll((lists) => lists.map((list) => ({
      title: list.querySelector("h2").textContent,
      scores: [...list.querySelectorAll(".score")].map((score) => score.textContent),
      moves: list.querySelectorAll(".moved").length,
    })));
    assert.equal(lists.length, 2);
    assert.deepEqual(lists.map(({ title }) => title), [MODEL, `job:${world.job}`]);
    assert.deepEqual(lists.map(({ scores }) => scores.length), [5, 5]);
    assert.notDeepEqual(lists[0].scores, lists[1].scores);
    assert.deepEqual(lists.map(({ moves }) => moves), [0, 5]);
    await page.getByText(/passages searched in/).waitFor();
  });
});

test("a checkpoint is downloaded as an archive that opens", async () => {
  await withPage(async (page) => {
    await page.goto(`/ui/jobs/${world.job}`);
    const started = page.waitForEvent("download");
    await page.locator("#checkpoints a[download]").first().click();
    const download = await started;
    const path = await download.path();
    const list = download.suggestedFilename().endsWith(".zip") ? ["python3", "-m", "zipfile", "-l"] : ["tar", "-tf"];
    const names = execFileSync(list[0], [...list.slice(1), path], { encoding: "utf8" });
    for (const name of ["model.safetensors", "modules.json", "tokenizer.json", "1_Pooling/config.json"]) {
      assert.ok(names.includes(name), `${name} is not in ${names}`);
    }
  });
});
