"""Clients from npm, each in a script below node/ that asks everything and writes down what it got."""

import json
import os
import subprocess

from conftest import MINILM
from vectors import EMBEDDINGS, HELLO, IDS, TEXTS, check, cut, normalized


def run(script, **settings):
    """What a script wrote."""
    folder = os.environ["MATRYO_TEST_NODE"]
    done = subprocess.run(["node", script], cwd=folder, input=json.dumps(settings), capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_openai(server, job):
    got = run("openai.js", url=server.url, model=MINILM, texts=TEXTS, ids=IDS, dimensions=128)
    for name in ("default", "float", "ids"):
        check(got[name], EMBEDDINGS)
    check(got["one"], [HELLO.embedding])
    check(got["cut"], cut(EMBEDDINGS, 128))
    tokens = sum(len(ids) for ids in IDS)
    assert got["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    assert {MINILM, "tiny", job.best} <= set(got["models"]) and got["retrieved"] == MINILM
    missing, invalid = got["missing"], got["invalid"]
    assert (missing["kind"], missing["status"], missing["code"]) == ("NotFoundError", 404, "model_not_found")
    assert (invalid["kind"], invalid["status"], invalid["param"]) == ("BadRequestError", 400, "dimensions")
    assert missing["type"] == invalid["type"] == "invalid_request_error"


def test_hugging_face(alone):
    got = run("huggingface.js", url=alone.url, texts=TEXTS, model=MINILM)
    for name in ("many", "root", "endpoint", "named"):
        check(got[name], EMBEDDINGS)
    check(got["one"], [HELLO.embedding])
    check(normalized(got["raw"]), EMBEDDINGS)
    check(got["cut"], cut(EMBEDDINGS, 64))
    check(got["similarity"], EMBEDDINGS @ HELLO.embedding)
    assert got["invalid"]["status"] == 422 and "none" in got["invalid"]["message"], got["invalid"]
