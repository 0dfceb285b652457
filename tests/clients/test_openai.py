"""OpenAI's own Python client: embeddings and models."""

import asyncio
import json

import numpy
import openai
import pytest

from conftest import API_KEY, MINILM
from vectors import EMBEDDINGS, HELLO, IDS, LONG, TEXTS, check, cut, from_base64, normalized

TOKENS = sum(len(ids) for ids in IDS)


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def embed(client, texts, model=MINILM, **parameters):
    """Embeddings in the order of the texts."""
    answer = client.embeddings.create(model=model, input=texts, **parameters)
    assert answer.object == "list" and answer.model == model
    assert [item.index for item in answer.data] == list(range(len(answer.data)))
    assert all(item.object == "embedding" for item in answer.data)
    return [item.embedding for item in answer.data]


def test_a_text_texts_and_token_ids(client):
    check(embed(client, HELLO.text), [HELLO.embedding])
    check(embed(client, TEXTS), EMBEDDINGS)
    check(embed(client, HELLO.ids), [HELLO.embedding])
    check(embed(client, IDS), EMBEDDINGS)


def test_base64_is_what_the_client_asks_for_by_default(client):
    raw = client.embeddings.with_raw_response.create(model=MINILM, input=TEXTS)
    assert json.loads(raw.http_request.content)["encoding_format"] == "base64"
    packed = [item["embedding"] for item in json.loads(raw.text)["data"]]
    rows = [from_base64(text) for text in packed]
    check(rows, EMBEDDINGS)
    # The client unpacks to the same numbers; written as decimals they are the same floats.
    check([item.embedding for item in raw.parse().data], rows, 0)
    check(numpy.array(embed(client, TEXTS, encoding_format="float"), "f4"), rows, 0)
    assert isinstance(embed(client, TEXTS, encoding_format="base64")[0], str)


@pytest.mark.parametrize("dimensions", [1, 64, 384])
@pytest.mark.parametrize("encoding_format", ["float", openai.omit])
def test_dimensions(client, dimensions, encoding_format):
    rows = embed(client, TEXTS, dimensions=dimensions, encoding_format=encoding_format)
    check(rows, cut(EMBEDDINGS, dimensions))
    check(numpy.linalg.norm(rows, axis=1), numpy.ones(len(TEXTS)), 1e-6)


def test_a_dimension_that_the_model_was_not_trained_at_is_answered_with_a_warning(client, job):
    def headers(**parameters):
        raw = client.embeddings.with_raw_response.create(model=job.best, input="a cat", **parameters)
        return {name: value for name, value in raw.headers.items() if "warning" in name}

    # The job was trained at 32 and 16.
    assert not headers() and not headers(dimensions=16) and not headers(dimensions=32)
    warnings = headers(dimensions=8)
    assert warnings and all("8" in value for value in warnings.values()), warnings


def test_usage(client):
    usage = client.embeddings.create(model=MINILM, input=TEXTS).usage
    assert usage.prompt_tokens == usage.total_tokens == TOKENS


def test_other_fields_do_not_matter(client):
    extra = {"input_type": "query", "truncate": "END", "priority": 0, "custom": {"a": [None]}}
    rows = embed(client, TEXTS, user="user-1234", extra_body=extra, extra_headers={"OpenAI-Organization": "o"})
    check(rows, EMBEDDINGS)


def test_2048_inputs_in_one_request(client):
    texts = [f"the animal number {number}" for number in range(2048)]
    rows = embed(client, texts, model="tiny")
    # Alone, at places spread over the batch.
    for place in range(0, 2048, 101):
        check(rows[place], embed(client, texts[place], model="tiny")[0], 1e-5)
    assert len({tuple(row) for row in rows}) == 2048


def test_asynchronously_and_at_once(server):
    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            create = client.embeddings.create
            asked = [create(model=MINILM, input=item, dimensions=128) for item in TEXTS + IDS]
            return await asyncio.gather(*asked), [model.id async for model in client.models.list()]

    answers, models = asyncio.run(ask())
    check([answer.data[0].embedding for answer in answers], numpy.tile(cut(EMBEDDINGS, 128), (2, 1)))
    assert MINILM in models


def test_every_model_by_its_name(client, server, job):
    for model in (MINILM, "tiny", "other", job.best, *job.epochs):
        check(embed(client, ["a cat"], model=model), server.call("POST", "/embed", {"inputs": "a cat", "model": model}), 1e-6)


def test_models(client, job):
    models = {model.id: model for model in client.models.list()}
    assert {MINILM, "tiny", "other", job.best} <= set(models)
    for name, length in ((MINILM, 256), ("tiny", 64), (job.best, 64)):
        for model in (models[name], client.models.retrieve(name)):
            assert model.id == name and model.object == "model" and model.owned_by
            assert isinstance(model.created, int) and model.created > 1_700_000_000
            assert model.max_model_len == length
    for epoch in job.epochs:
        assert client.models.retrieve(epoch).id == epoch


def raised(error, call, **parameters):
    """What the client raises."""
    with pytest.raises(error) as caught:
        call(**parameters)
    assert type(caught.value) is error and caught.value.body["message"], caught.value
    return caught.value


@pytest.mark.parametrize("parameters, param", [
    ({"input": []}, "input"),
    ({"input": "a", "dimensions": 0}, "dimensions"),
    ({"input": "a", "dimensions": 385}, "dimensions"),
    ({"input": "a", "dimensions": -1}, "dimensions"),
    ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
    ({"input": {"a": 1}}, "input"),
    ({"input": None}, "input"),
])
def test_bad_values(client, parameters, param):
    error = raised(openai.BadRequestError, client.embeddings.create, model=MINILM, **parameters)
    assert error.status_code == 400 and error.type == "invalid_request_error" and error.param == param, error
    assert error.code


def test_too_many_inputs(client):
    with pytest.raises(openai.APIStatusError) as caught:
        client.embeddings.create(model="tiny", input=["a"] * 2049)
    assert caught.value.status_code in (400, 413) and "2048" in caught.value.message, caught.value
    assert caught.value.type == "invalid_request_error"


def test_what_is_not_there(client):
    for call in (lambda: client.embeddings.create(model="no/such-model", input="a"),
                 lambda: client.models.retrieve("no/such-model"),
                 lambda: client.embeddings.create(model="job:01a210fe-db60-75a4-b06a-d4b12eb0fb96", input="a")):
        error = raised(openai.NotFoundError, call)
        assert error.code == "model_not_found" and error.param == "model", error
        assert error.type == "invalid_request_error"
    # A route that there is not.
    assert raised(openai.NotFoundError, client.batches.list).type == "invalid_request_error"


@pytest.mark.parametrize("ids", [
    # "Hello, world!" by OpenAI's cl100k_base: all four are in this model's vocabulary too, as other words.
    [9906, 11, 1917, 0],
    # Beyond the vocabulary.
    [101, 100_000, 102],
])
def test_token_ids_of_another_tokenizer_are_refused_with_a_hint(client, ids):
    for wrong in (ids, [ids], [HELLO.ids, ids]):
        error = raised(openai.BadRequestError, client.embeddings.create, model=MINILM, input=wrong)
        assert "check_embedding_ctx_length" in error.message and error.param.startswith("input"), error


def test_texts_that_are_too_long_are_cut(client):
    check(embed(client, LONG.text), [LONG.embedding])
    assert client.embeddings.create(model=MINILM, input=LONG.text).usage.prompt_tokens == 256


def test_a_wrong_key(locked):
    client = openai.OpenAI(base_url=f"{locked.url}/v1", api_key="wrong", max_retries=0)
    for call in (client.models.list, lambda: client.embeddings.create(model="tiny", input="a")):
        error = raised(openai.AuthenticationError, call)
        assert error.code == "invalid_api_key" and error.type == "invalid_request_error", error
    right = client.with_options(api_key=API_KEY)
    check(embed(right, "a", model="tiny"), locked.call("POST", "/embed", {"inputs": "a"}), 1e-6)


def test_all_protocols_give_the_same_numbers(client, server):
    tei = server.call("POST", "/embed", {"inputs": TEXTS, "model": MINILM})
    raw = server.call("POST", "/embed", {"inputs": TEXTS, "model": MINILM, "normalize": False})
    for rows in (embed(client, TEXTS), embed(client, TEXTS, encoding_format="float"), normalized(raw)):
        check(rows, tei, 1e-6)
