"""The routes of text-embeddings-inference, which has no client of its own: each field, error and header, by httpx.

Names and statuses are those of its router (router/src/http), whose error types begin with a capital on the wire.
"""

import httpx
import numpy
import pytest

from conftest import MINILM
from vectors import EMBEDDINGS, HELLO, IDS, LONG, TEXTS, check, cut, normalized

HEADERS = ("x-compute-type", "x-compute-time", "x-compute-characters", "x-compute-tokens", "x-total-time",
           "x-tokenization-time", "x-queue-time", "x-inference-time")
SIMILARITY = {"source_sentence": HELLO.text, "sentences": TEXTS}


@pytest.fixture(scope="module")
def client(alone):
    with httpx.Client(base_url=alone.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def several(server):
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


def post(client, path, **body):
    """The JSON of an answer that must be 200."""
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("path", ["/embed", "/"])
def test_embed_takes_a_text_a_list_and_token_ids(client, path):
    check(post(client, path, inputs=HELLO.text), [HELLO.embedding])
    check(post(client, path, inputs=TEXTS), EMBEDDINGS)
    check(post(client, path, inputs=HELLO.ids), [HELLO.embedding])
    check(post(client, path, inputs=IDS), EMBEDDINGS)
    check(post(client, path, inputs=[HELLO.text, HELLO.ids]), [HELLO.embedding] * 2)


def test_embed_normalize(client):
    check(post(client, "/embed", inputs=TEXTS, normalize=True), EMBEDDINGS)
    raw = post(client, "/embed", inputs=TEXTS, normalize=False)
    lengths = numpy.linalg.norm(raw, axis=1)
    assert (numpy.abs(lengths - 1) > 0.1).all(), lengths
    check(normalized(raw), EMBEDDINGS)
    # Only what was asked for is left: no scaling after the cut.
    check(post(client, "/embed", inputs=TEXTS, normalize=False, dimensions=64), numpy.array(raw)[:, :64], 1e-6)


@pytest.mark.parametrize("dimensions", [1, 64, 100, 384])
def test_embed_dimensions(client, dimensions):
    check(post(client, "/embed", inputs=TEXTS, dimensions=dimensions), cut(EMBEDDINGS, dimensions))


def test_embed_truncate(client):
    left = post(client, "/embed", inputs=LONG.text, truncate=True, truncation_direction="left")
    for direction in ("right", "Right"):
        body = {"inputs": LONG.text, "truncate": True, "truncation_direction": direction}
        check(post(client, "/embed", **body), [LONG.embedding])
    check(post(client, "/embed", inputs=LONG.text, truncate=True, truncation_direction="Left"), left, 1e-6)
    # The reference's ids are cut at the right; the left cut keeps the end of all tokens between the special ones.
    tokens = [token["id"] for token in post(client, "/tokenize", inputs=LONG.text)[0]]
    assert len(tokens) > 256
    check(left, post(client, "/embed", inputs=[tokens[:1] + tokens[-255:]]), 1e-6)


def test_embed_prompt_name(several):
    with_prompt = post(several, "/embed", inputs="cat", prompt_name="query", model="tiny")
    check(with_prompt, post(several, "/embed", inputs="query: cat", model="tiny"), 1e-6)
    without = post(several, "/embed", inputs="cat", prompt_name=None, model="tiny")
    assert numpy.abs(numpy.array(with_prompt) - without).max() > 1e-3


def test_nulls_and_unknown_fields_are_as_left_out(client):
    body = {"truncate": None, "normalize": True, "prompt_name": None, "dimensions": None, "raw_scores": False, "x": {}}
    check(post(client, "/embed", inputs=HELLO.text, **body), [HELLO.embedding])


def test_embed_all_gives_a_vector_for_each_token(client):
    for inputs in (TEXTS, IDS):
        all_tokens = post(client, "/embed_all", inputs=inputs)
        assert [len(tokens) for tokens in all_tokens] == [len(ids) for ids in IDS]
        # The model's pooling is the mean.
        check(normalized([numpy.mean(tokens, axis=0) for tokens in all_tokens]), EMBEDDINGS)
    check(post(client, "/embed_all", inputs=HELLO.text)[0], all_tokens[0], 1e-5)


def test_similarity(client):
    check(post(client, "/similarity", inputs=SIMILARITY), EMBEDDINGS @ HELLO.embedding, 1e-5)
    body = {"inputs": SIMILARITY, "parameters": {"truncate": True, "truncation_direction": "right", "prompt_name": None}}
    check(post(client, "/similarity", **body), EMBEDDINGS @ HELLO.embedding, 1e-5)


def test_tokenize_and_decode(client):
    tokens = post(client, "/tokenize", inputs=HELLO.text)
    assert [token["id"] for token in tokens[0]] == HELLO.ids
    assert [token["special"] for token in tokens[0]] == [True, False, False, False, False, True]
    assert tokens[0][1] == {"id": 7592, "text": "Hello", "special": False, "start": 0, "stop": 5}
    assert tokens[0][0]["start"] is None and tokens[0][0]["stop"] is None
    bare = post(client, "/tokenize", inputs=[HELLO.text, "a"], add_special_tokens=False)
    assert [[token["id"] for token in text] for text in bare] == [HELLO.ids[1:-1], [1037]]
    assert post(client, "/decode", ids=HELLO.ids) == ["hello, world!"]
    assert post(client, "/decode", ids=HELLO.ids, skip_special_tokens=False) == ["[CLS] hello, world! [SEP]"]
    assert post(client, "/decode", ids=[HELLO.ids, [101, 1037, 102]], skip_special_tokens=True) == ["hello, world!", "a"]


def test_info_health_and_metrics(client):
    info = client.get("/info").json()
    assert info["model_id"] == MINILM and info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert info["max_input_length"] == 256 and info["max_client_batch_size"] == 2048
    for name in ("model_dtype", "max_batch_tokens", "max_concurrent_requests", "auto_truncate", "version"):
        assert name in info, name
    assert client.get("/health").status_code == 200
    post(client, "/embed", inputs="one more")
    metrics = client.get("/metrics")
    assert metrics.status_code == 200 and metrics.headers["content-type"].startswith("text/plain")
    samples = [line.rsplit(" ", 1) for line in metrics.text.splitlines() if line and not line.startswith("#")]
    assert any("embed" in name and float(value) > 0 for name, value in samples), metrics.text


@pytest.mark.parametrize("path, body, tokens, characters", [
    ("/embed", {"inputs": [HELLO.text, "é"]}, len(HELLO.ids) + 3, 14),
    ("/embed_all", {"inputs": HELLO.text}, len(HELLO.ids), 13),
    ("/similarity", {"inputs": {"source_sentence": "a", "sentences": [HELLO.text]}}, len(HELLO.ids) + 3, 14),
    ("/v1/embeddings", {"input": HELLO.text}, len(HELLO.ids), 13),
])
def test_answers_say_what_they_took(client, path, body, tokens, characters):
    headers = client.post(path, json=body).headers
    assert set(HEADERS) <= set(headers), headers
    assert headers["x-compute-tokens"] == str(tokens) and headers["x-compute-characters"] == str(characters)
    assert all(float(headers[name]) >= 0 for name in HEADERS if name.endswith("-time"))
    parts = sum(int(headers[f"x-{part}-time"]) for part in ("tokenization", "queue", "inference"))
    assert parts <= int(headers["x-total-time"]), headers


@pytest.mark.parametrize("path, body, statuses, error_type", [
    ("/embed", {"inputs": []}, [400], "Empty"),
    ("/embed_all", {"inputs": []}, [400], "Empty"),
    ("/similarity", {"inputs": {"source_sentence": "a", "sentences": []}}, [400], "Empty"),
    ("/tokenize", {"inputs": []}, [400], "Empty"),
    ("/decode", {"ids": [[]][:0]}, [400], "Empty"),
    ("/embed", {"inputs": "a", "dimensions": 0}, [422], "Validation"),
    ("/embed", {"inputs": "a", "dimensions": 385}, [422], "Validation"),
    ("/embed", {"inputs": LONG.text, "truncate": False}, [422], "Validation"),
    ("/embed_all", {"inputs": LONG.text, "truncate": False}, [422], "Validation"),
    ("/embed", {"inputs": "a", "prompt_name": "none"}, [422], "Validation"),
    # TEI documents 413 and answers 422.
    ("/embed", {"inputs": ["a"] * 2049}, [413, 422], "Validation"),
    ("/embed", {"inputs": [101, 30522, 102]}, [422], "Tokenizer"),
    ("/decode", {"ids": [30522]}, [422], "Tokenizer"),
    ("/embed", {"inputs": "a", "model": "no such model"}, [404], "Validation"),
    ("/embed", {"inputs": {"a": 1}}, [400, 422], "Validation"),
    ("/embed", {"inputs": ["a", None]}, [400, 422], "Validation"),
    ("/embed", {}, [400, 422], "Validation"),
    ("/tokenize", {"inputs": 7}, [400, 422], "Validation"),
])
def test_errors(client, path, body, statuses, error_type):
    response = client.post(path, json=body)
    assert response.status_code in statuses, response.text
    answer = response.json()
    assert answer["error_type"] == error_type and isinstance(answer["error"], str) and answer["error"], answer


def test_bodies_that_are_no_json(client):
    for content, content_type, statuses in ((b"{", "application/json", [400]), (b"{}", "text/plain", [415, 422])):
        response = client.post("/embed", content=content, headers={"content-type": content_type})
        assert response.status_code in statuses and isinstance(response.json()["error"], str), response.text


def test_any_model_by_its_field_or_its_path(several, job):
    names = [MINILM, "tiny", "other", job.best, *job.epochs]
    by_field = [post(several, "/embed", inputs="a cat", model=name)[0] for name in names]
    check(by_field[0], post(several, "/embed", inputs=["a cat"], model=MINILM)[0], 1e-6)
    for name, embedding in zip(names, by_field):
        check(post(several, f"/models/{name}/embed", inputs="a cat")[0], embedding, 1e-6)
    # The best is one of the two checkpoints; all others differ.
    assert any(numpy.allclose(by_field[3], other, atol=1e-6) for other in by_field[4:])
    for first, second in ((1, 2), (1, 4), (1, 5), (4, 5)):
        assert numpy.abs(numpy.array(by_field[first]) - by_field[second]).max() > 1e-3, (names[first], names[second])
    # Several models and none named.
    response = several.post("/embed", json={"inputs": "a"})
    assert response.status_code == 422 and MINILM in response.json()["error"], response.text


def test_a_key_is_wanted(locked):
    with httpx.Client(base_url=locked.url) as client:
        assert client.get("/health").status_code == 200
        assert client.post("/embed", json={"inputs": "a"}).status_code == 401
        headers = {"authorization": f"Bearer {locked.api_key}"}
        assert client.post("/embed", json={"inputs": "a"}, headers=headers).status_code == 200
