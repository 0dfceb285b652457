"""Libraries made for OpenAI's embeddings: LangChain's and LlamaIndex's."""

import asyncio

import openai
import pytest
import tiktoken
from langchain_openai import OpenAIEmbeddings
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.embeddings.openai_like import OpenAILikeEmbedding

from conftest import MINILM
from vectors import EMBEDDINGS, HELLO, LONG, TEXTS, check, cut

# The words of the tests' texts as cl100k_base numbers them; single bytes follow from `!` on, as they do there.
WORDS = {b"Hello": 9906, b"hello": 15339, b" world": 1917, b" great": 2294, b" is": 374, b"token": 5963}
PATTERN = r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s+"""


@pytest.fixture
def cl100k_base(monkeypatch):
    """OpenAI's tokenizer as far as these tests need it: tiktoken would fetch the whole from a server of OpenAI's."""
    ranks = {bytes([(byte + 33) % 256]): byte for byte in range(256)}
    assert ranks[b"!"] == 0 and ranks[b"t"] == 83
    encoding = tiktoken.Encoding("cl100k_base", pat_str=PATTERN, mergeable_ranks={**ranks, **WORDS}, special_tokens={})
    assert encoding.encode(HELLO.text) == [9906, 11, 1917, 0]
    monkeypatch.setitem(tiktoken.registry.ENCODINGS, "cl100k_base", encoding)


@pytest.fixture
def langchain(server):
    def embeddings(**parameters):
        base = {"model": MINILM, "base_url": f"{server.url}/v1", "api_key": "none", "max_retries": 0}
        return OpenAIEmbeddings(**{**base, **parameters})

    return embeddings


def test_langchain_with_texts(langchain):
    embeddings = langchain(check_embedding_ctx_length=False)
    check(embeddings.embed_documents(TEXTS), EMBEDDINGS)
    check(embeddings.embed_query(HELLO.text), HELLO.embedding)
    check(langchain(check_embedding_ctx_length=False, chunk_size=5).embed_documents(TEXTS), EMBEDDINGS)
    check(langchain(check_embedding_ctx_length=False, dimensions=64).embed_documents(TEXTS), cut(EMBEDDINGS, 64))


def test_langchain_asynchronously(langchain):
    async def ask():
        embeddings = langchain(check_embedding_ctx_length=False)
        return await asyncio.gather(embeddings.aembed_documents(TEXTS), embeddings.aembed_query(LONG.text))

    documents, query = asyncio.run(ask())
    check(documents, EMBEDDINGS)
    check(query, LONG.embedding)


@pytest.mark.parametrize("text", [HELLO.text, "hello world", "token is great!", "qux"])
def test_langchain_by_default_sends_openais_token_ids_and_is_told_what_to_set(langchain, cl100k_base, text):
    with pytest.raises(openai.BadRequestError) as caught:
        langchain().embed_query(text)
    assert "check_embedding_ctx_length=False" in caught.value.message, caught.value
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
        langchain(model="tiny").embed_documents([text, HELLO.text])


def test_langchain_with_a_fine_tuned_model(langchain, server, job):
    for model in (job.best, job.epochs[1]):
        expected = server.call("POST", "/embed", {"inputs": ["a cat", "a dog"], "model": model, "dimensions": 16})
        embeddings = langchain(model=model, check_embedding_ctx_length=False, dimensions=16)
        check(embeddings.embed_documents(["a cat", "a dog"]), expected, 1e-6)


@pytest.mark.parametrize("kind", [OpenAILikeEmbedding, OpenAIEmbedding])
def test_llama_index(server, kind):
    address = {"api_base": f"{server.url}/v1", "api_key": "none", "model_name": MINILM, "max_retries": 0}
    model = kind(embed_batch_size=5, **address)
    # It makes spaces of line ends, as the tokenizer does.
    check(model.get_text_embedding_batch(TEXTS), EMBEDDINGS)
    check(model.get_text_embedding(HELLO.text), HELLO.embedding)
    check(model.get_query_embedding(LONG.text), LONG.embedding)
    check(kind(dimensions=64, **address).get_text_embedding_batch(TEXTS), cut(EMBEDDINGS, 64))


def test_llama_index_asynchronously(server, job):
    async def ask():
        model = OpenAILikeEmbedding(model_name=job.best, api_base=f"{server.url}/v1", api_key="none", max_retries=0)
        return await model.aget_text_embedding_batch(["a cat", "a dog"]), await model.aget_query_embedding("a cow")

    batch, query = asyncio.run(ask())
    check([*batch, query], server.call("POST", "/embed", {"inputs": ["a cat", "a dog", "a cow"], "model": job.best}), 1e-6)
