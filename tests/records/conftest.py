"""A server with a tiny model, and jobs whose records are read: one that ran through, and one that was killed and went on."""

import json
import pathlib
import subprocess
import sys
from types import SimpleNamespace

import pytest

from server import Server

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Seconds; minutes with a binary that is not optimised.
PATIENCE = 600
SAMPLES = ROOT / "samples/annual-reports"
# Two of the dimensions are so small that many passages look alike.
TRAINING = {"epochs": 3, "per_device_train_batch_size": 16, "gradient_accumulation_steps": 2, "learning_rate": 1e-3,
            "matryoshka_dims": [32, 8, 2], "logging_steps": 2, "save_total_limit": 3}


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder with a model of two small layers."""
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([sys.executable, ROOT / "tests/python/tiny_model.py", folder / "tiny", "1"], check=True)
    return folder


def rows():
    """A part of the samples, and some passages once more, so that they stand in the corpus twice."""
    train = [json.loads(line) for line in (SAMPLES / "train.jsonl").read_text().splitlines()[:80]]
    evaluation = [json.loads(line) for line in (SAMPLES / "eval.jsonl").read_text().splitlines()[:40]]
    copies = [{"id": f"a copy {number}", "anchor": row["anchor"] + "?", "positive": row["positive"]}
              for number, row in enumerate(train[:20])]
    return train, evaluation + copies


def start(folder, models):
    """A server on a folder, with the tiny model and a dataset; the dataset's id."""
    server = Server(folder, [models])
    server.add_model("tiny", models / "tiny")
    train, evaluation = rows()
    boundary = "a-boundary-that-no-row-holds"
    parts = "".join(
        f"--{boundary}\r\ncontent-disposition: form-data; name={name}; filename={name}.jsonl\r\n\r\n"
        + "".join(json.dumps(row) + "\n" for row in lines) + "\r\n"
        for name, lines in (("file", train), ("eval_file", evaluation)))
    body = f"{parts}--{boundary}--\r\n".encode()
    dataset = server.call("POST", "/v1/datasets", body, f"multipart/form-data; boundary={boundary}")
    return server, dataset["id"]


def described(server, job):
    """What the API says of a job, and where its records lie."""
    events, after = [], 0
    while after is not None:
        page = server.call("GET", f"/v1/jobs/{job}/events?limit=1000&last_event_id={after}",
                           headers={"accept": "application/json"})
        events += page["data"]
        after = page["next_cursor"]
    return SimpleNamespace(id=job, server=server, folder=server.folder / "data/jobs" / job, events=events,
                           metrics=server.call("GET", f"/v1/jobs/{job}/metrics"))


@pytest.fixture(scope="session")
def server(tmp_path_factory, models):
    """A server, and the id of a dataset on it."""
    server, dataset = start(tmp_path_factory.mktemp("server"), models)
    yield server, dataset
    server.stop()


@pytest.fixture(scope="session")
def undisturbed(server):
    """A job that ran through."""
    server, dataset = server
    job = server.submit(dataset, "tiny", **TRAINING)
    server.wait_for_job(job, PATIENCE)
    return described(server, job)


@pytest.fixture(scope="session")
def killed(tmp_path_factory, models):
    """A job of many epochs, under which the server was killed twice."""
    server, dataset = start(tmp_path_factory.mktemp("killed"), models)
    job = server.submit(dataset, "tiny", **{**TRAINING, "epochs": 8, "logging_steps": 1})
    folder = server.folder / "data/jobs" / job / "checkpoints"
    for epoch in (1, 3):
        server.wait(f"epoch {epoch}", lambda: any(
            int(path.name.removeprefix("epoch-")) >= epoch for path in folder.glob("epoch-*")), PATIENCE)
        server.process.kill()
        server.process.wait()
        assert server.process.returncode == -9
        server = Server(server.folder, [models])
    server.wait_for_job(job, PATIENCE)
    yield described(server, job)
    server.stop()
