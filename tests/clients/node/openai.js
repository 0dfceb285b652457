// OpenAI's client for JavaScript: reads {url, model, texts, ids, dimensions} from standard input, writes what it got.
import { readFileSync } from "node:fs";
import OpenAI from "openai";

const { url, model, texts, ids, dimensions } = JSON.parse(readFileSync(0, "utf8"));
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });

async function embed(parameters) {
  const answer = await client.embeddings.create({ model, ...parameters });
  return answer.data.map((item) => item.embedding);
}

async function error(call) {
  try {
    await call();
  } catch (caught) {
    return { kind: caught.constructor.name, status: caught.status, code: caught.code, param: caught.param, type: caught.type };
  }
  return null;
}

const models = [];
for await (const found of client.models.list()) models.push(found.id);
const usage = (await client.embeddings.create({ model, input: texts })).usage;

console.log(JSON.stringify({
  default: await embed({ input: texts }),
  float: await embed({ input: texts, encoding_format: "float" }),
  one: await embed({ input: texts[0] }),
  ids: await embed({ input: ids }),
  cut: await embed({ input: texts, dimensions }),
  usage,
  models,
  retrieved: (await client.models.retrieve(model)).id,
  missing: await error(() => embed({ model: "no/such-model", input: "a" })),
  invalid: await error(() => embed({ input: "a", dimensions: 100000 })),
}));
