// The Hub's client for JavaScript: reads {url, texts, model} from standard input, writes what it got.
import { readFileSync } from "node:fs";
import { InferenceClient } from "@huggingface/inference";

const { url, texts, model } = JSON.parse(readFileSync(0, "utf8"));
const client = new InferenceClient();

async function error(call) {
  try {
    await call();
  } catch (caught) {
    return { status: caught.httpResponse?.status, message: caught.message };
  }
  return null;
}

const embed = (path, parameters) => client.featureExtraction({ endpointUrl: url + path, ...parameters });
console.log(JSON.stringify({
  many: await embed("/embed", { inputs: texts }),
  one: await embed("/embed", { inputs: texts[0] }),
  root: await embed("", { inputs: texts }),
  endpoint: await client.endpoint(`${url}/embed`).featureExtraction({ inputs: texts }),
  raw: await embed("/embed", { inputs: texts, normalize: false }),
  cut: await embed("/embed", { inputs: texts, dimensions: 64 }),
  named: await embed(`/models/${model}/embed`, { inputs: texts }),
  similarity: await client.sentenceSimilarity({
    endpointUrl: `${url}/similarity`, inputs: { source_sentence: texts[0], sentences: texts },
  }),
  invalid: await error(() => embed("/embed", { inputs: "a", prompt_name: "none" })),
}));
