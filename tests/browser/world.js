// What all parts of the suite share: one server with a model, one browser, and what the journey makes.

import { basename, dirname, join } from "node:path";
import { after, before } from "node:test";

import { Browser } from "./browser.js";
import { Server } from "./server.js";

const MODEL_FOLDER = process.env.MATRYO_TEST_MINILM;

/** The base model's name. */
export const MODEL = `sentence-transformers/${basename(MODEL_FOLDER)}`;
/** Question–passage pairs, to train on and to evaluate on. */
export const SAMPLES = { train: join(process.env.MATRYO_SAMPLES, "train.jsonl"), eval: join(process.env.MATRYO_SAMPLES, "eval.jsonl") };
/** Where base models lie. */
export const MODEL_ROOT = dirname(MODEL_FOLDER);

/** `server` and `browser`, from the beginning on; `job` and `dataset`, once the journey has made them. */
export const world = {};

before(async () => {
  world.server = await Server.start({ modelRoots: [MODEL_ROOT] });
  await world.server.addModel(MODEL, MODEL_FOLDER);
  world.browser = await Browser.start();
});

after(async () => {
  await world.browser?.stop();
  await world.server?.stop();
});

/** Opens a page of its own, hands it to `use`, and complains of what it should not have done. */
export async function withPage(use, { server = world.server, expected = [], ...options } = {}) {
  const page = await world.browser.open(server, options);
  try {
    await use(page);
    page.checkFaults(...expected);
  } finally {
    await page.context().close();
  }
}
