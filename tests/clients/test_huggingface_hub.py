"""The Hub's own client, pointed at the server."""

import asyncio

import numpy
import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from conftest import API_KEY, MINILM
from vectors import EMBEDDINGS, HELLO, LONG, TEXTS, check, cut, normalized


@pytest.mark.parametrize("path", ["/embed", "", "/"])
def test_feature_extraction(alone, path):
    client = InferenceClient(model=alone.url + path)
    answer = client.feature_extraction(HELLO.text)
    assert isinstance(answer, numpy.ndarray) and answer.dtype == numpy.float32
    check(answer, [HELLO.embedding])
    check(client.feature_extraction(TEXTS), EMBEDDINGS)
    check(InferenceClient().feature_extraction(HELLO.text, model=alone.url + path), [HELLO.embedding])


def test_feature_extraction_by_base_url(alone):
    check(InferenceClient(base_url=f"{alone.url}/embed").feature_extraction(HELLO.text), [HELLO.embedding])


def test_parameters(alone, server):
    client = InferenceClient(model=f"{alone.url}/embed")
    check(client.feature_extraction(TEXTS, normalize=True), EMBEDDINGS)
    raw = client.feature_extraction(TEXTS, normalize=False)
    assert (numpy.abs(numpy.linalg.norm(raw, axis=1) - 1) > 0.1).all()
    check(normalized(raw), EMBEDDINGS)
    check(client.feature_extraction(TEXTS, dimensions=64), cut(EMBEDDINGS, 64))
    check(client.feature_extraction(LONG.text, truncate=True, truncation_direction="right"), [LONG.embedding])
    left = client.feature_extraction(LONG.text, truncate=True, truncation_direction="left")
    assert numpy.abs(left - LONG.embedding).max() > 1e-3
    tiny = InferenceClient(model=f"{server.url}/models/tiny/embed")
    check(tiny.feature_extraction("a cat", prompt_name="query"), tiny.feature_extraction("query: a cat"), 1e-6)


def test_sentence_similarity(alone, server):
    client = InferenceClient(model=f"{alone.url}/similarity")
    check(client.sentence_similarity(HELLO.text, other_sentences=TEXTS), EMBEDDINGS @ HELLO.embedding)
    named = InferenceClient(model=f"{server.url}/models/{MINILM}/similarity")
    check(named.sentence_similarity(HELLO.text, other_sentences=TEXTS), EMBEDDINGS @ HELLO.embedding)


def test_asynchronously(alone):
    async def ask():
        async with AsyncInferenceClient(model=f"{alone.url}/embed") as client:
            one, many = await asyncio.gather(client.feature_extraction(HELLO.text), client.feature_extraction(TEXTS))
            cosines = await client.sentence_similarity(HELLO.text, TEXTS, model=f"{alone.url}/similarity")
            return one, many, cosines

    one, many, cosines = asyncio.run(ask())
    check(one, [HELLO.embedding])
    check(many, EMBEDDINGS)
    check(cosines, EMBEDDINGS @ HELLO.embedding)


def test_named_models(server, job):
    for name in (MINILM, "tiny", "other", job.best, *job.epochs):
        expected = server.call("POST", "/embed", {"inputs": "a cat", "model": name})
        client = InferenceClient(model=f"{server.url}/models/{name}/embed")
        check(client.feature_extraction("a cat"), expected, 1e-6)


@pytest.mark.parametrize("parameters, status, word", [
    ({"text": []}, 400, "cannot be empty"),
    ({"text": "a", "dimensions": 385}, 422, "384"),
    ({"text": "a", "prompt_name": "none"}, 422, "none"),
    ({"text": LONG.text, "truncate": False}, 422, "256"),
])
def test_errors_reach_the_caller_with_their_message(alone, parameters, status, word):
    with pytest.raises(HfHubHTTPError) as raised:
        InferenceClient(model=f"{alone.url}/embed").feature_extraction(**parameters)
    assert raised.value.response.status_code == status
    # The client reads `error` of the answer into its own message.
    assert word in raised.value.server_message, raised.value


def test_the_token_goes_along(locked):
    with pytest.raises(HfHubHTTPError) as raised:
        InferenceClient(model=f"{locked.url}/embed", token="wrong").feature_extraction("a cat")
    assert raised.value.response.status_code == 401
    expected = locked.call("POST", "/embed", {"inputs": "a cat"})
    check(InferenceClient(model=f"{locked.url}/embed", token=API_KEY).feature_extraction("a cat"), expected, 1e-6)
