"""Libraries that are made for a text-embeddings-inference server: LangChain's and LlamaIndex's."""

import asyncio

import pytest
from langchain_huggingface import HuggingFaceEndpointEmbeddings
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference

from conftest import API_KEY, MINILM
from vectors import EMBEDDINGS, HELLO, LONG, TEXTS, check, cut, normalized


@pytest.mark.parametrize("path", ["", "/", "/embed"])
def test_langchain_takes_the_server_for_its_endpoint(alone, path):
    embeddings = HuggingFaceEndpointEmbeddings(model=alone.url + path)
    # It makes spaces of line ends; the tokenizer takes both for the same.
    check(embeddings.embed_documents(TEXTS), EMBEDDINGS)
    check(embeddings.embed_query(HELLO.text), HELLO.embedding)


def test_langchain_asynchronously(alone):
    async def ask():
        embeddings = HuggingFaceEndpointEmbeddings(model=f"{alone.url}/embed")
        return await asyncio.gather(embeddings.aembed_documents(TEXTS), embeddings.aembed_query(HELLO.text))

    documents, query = asyncio.run(ask())
    check(documents, EMBEDDINGS)
    check(query, HELLO.embedding)


def test_langchain_passes_parameters_on(alone):
    def embed(**parameters):
        return HuggingFaceEndpointEmbeddings(model=alone.url, model_kwargs=parameters).embed_documents(TEXTS)

    check(embed(dimensions=128), cut(EMBEDDINGS, 128))
    check(normalized(embed(normalize=False)), EMBEDDINGS)
    check(embed(truncate=True, truncation_direction="right"), EMBEDDINGS)


def test_langchain_with_a_named_model(server, job):
    for name in (MINILM, "tiny", job.best, job.epochs[0]):
        answer = server.call("POST", "/embed", {"inputs": ["a cat", "a dog"], "model": name})
        embeddings = HuggingFaceEndpointEmbeddings(model=f"{server.url}/models/{name}/embed")
        check(embeddings.embed_documents(["a cat", "a dog"]), answer, 1e-6)


def test_langchain_sends_its_token(locked):
    expected = locked.call("POST", "/embed", {"inputs": "a cat"})
    embeddings = HuggingFaceEndpointEmbeddings(model=f"{locked.url}/embed", huggingfacehub_api_token=API_KEY)
    check(embeddings.embed_documents(["a cat"]), expected, 1e-6)


def test_llama_index_one_and_many(alone):
    model = TextEmbeddingsInference(model_name=MINILM, base_url=alone.url, embed_batch_size=5)
    # It strips texts and would send an instruction before them where one is set.
    texts = [text.strip() for text in TEXTS]
    expected = alone.call("POST", "/embed", {"inputs": texts})
    check(model.get_text_embedding_batch(TEXTS), expected, 1e-6)
    check(model.get_text_embedding(HELLO.text), HELLO.embedding)
    check(model.get_query_embedding(LONG.text), LONG.embedding)


def test_llama_index_asynchronously(alone):
    async def ask():
        model = TextEmbeddingsInference(model_name=MINILM, base_url=alone.url, embed_batch_size=3)
        batch = await model.aget_text_embedding_batch([HELLO.text, LONG.text] * 4)
        return batch, await model.aget_query_embedding(HELLO.text)

    batch, query = asyncio.run(ask())
    check(batch, [HELLO.embedding, LONG.embedding] * 4)
    check(query, HELLO.embedding)


def test_llama_index_puts_instructions_before_texts(alone):
    model = TextEmbeddingsInference(
        model_name=MINILM, base_url=alone.url, text_instruction="passage:", query_instruction="query:")
    expected = alone.call("POST", "/embed", {"inputs": ["passage: a cat", "query: a cat"]})
    check([model.get_text_embedding("a cat"), model.get_query_embedding("a cat")], expected, 1e-6)


def test_llama_index_with_a_named_model_and_a_key(server, locked, job):
    for name in ("tiny", job.best):
        expected = server.call("POST", "/embed", {"inputs": "a cat", "model": name})
        model = TextEmbeddingsInference(model_name=name, base_url=server.url, endpoint=f"/models/{name}/embed")
        check([model.get_text_embedding("a cat")], expected, 1e-6)
    expected = locked.call("POST", "/embed", {"inputs": "a cat"})
    for token in (API_KEY, lambda _: API_KEY):
        model = TextEmbeddingsInference(model_name="tiny", base_url=locked.url, auth_token=token)
        check([model.get_text_embedding("a cat")], expected, 1e-6)
