"""The servers that the suites ask, each started once, and what is on them."""

import json
import os
import pathlib
import subprocess
import sys
from types import SimpleNamespace

import pytest

from server import Server
from vectors import ROOT

MINILM_FOLDER = pathlib.Path(os.environ["MATRYO_TEST_MINILM"]).resolve()
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
API_KEY = "a key of the suites"
PAIRS = [(f"which one is the {name}", f"this is a {name} of the farm") for name in
         ("cat", "dog", "cow", "horse", "sheep", "goat", "pig", "hen", "duck", "goose")]


def tiny_model(folder, seed=1):
    """Writes a model of two small layers that has prompts."""
    subprocess.run([sys.executable, ROOT / "tests/python/tiny_model.py", folder, str(seed)], check=True)
    settings = {"prompts": {"query": "query: ", "passage": "passage: "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder of base models: `tiny` and `other`."""
    folder = tmp_path_factory.mktemp("models")
    tiny_model(folder / "tiny", 1)
    tiny_model(folder / "other", 2)
    return folder


@pytest.fixture(scope="session")
def alone(tmp_path_factory):
    """A server with all-MiniLM-L6-v2 alone, so that clients need not name it."""
    server = Server(tmp_path_factory.mktemp("alone"), [MINILM_FOLDER.parent])
    server.add_model(MINILM, MINILM_FOLDER)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def server(tmp_path_factory, models):
    """A server with several base models, one of them fine-tuned."""
    server = Server(tmp_path_factory.mktemp("server"), [MINILM_FOLDER.parent, models])
    server.add_model(MINILM, MINILM_FOLDER)
    server.add_model("tiny", models / "tiny")
    server.add_model("other", models / "other")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def job(server):
    """A job that fine-tuned `tiny` for two epochs at 32 and 16 dimensions: its id and the names of what it made."""
    number = server.submit(server.add_dataset(PAIRS), "tiny", epochs=2, per_device_train_batch_size=4,
                           gradient_accumulation_steps=1, learning_rate=1e-2, matryoshka_dims=[32, 16])
    server.wait_for_job(number)
    return SimpleNamespace(id=number, best=f"job:{number}", epochs=[f"job:{number}@epoch-{epoch}" for epoch in (1, 2)])


@pytest.fixture(scope="session")
def locked(tmp_path_factory, models):
    """A server that wants a key."""
    server = Server(tmp_path_factory.mktemp("locked"), [models], api_key=API_KEY)
    server.add_model("tiny", models / "tiny")
    yield server
    server.stop()
