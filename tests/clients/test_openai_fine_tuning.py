"""OpenAI's own client alone drives files and fine-tuning: upload, fine-tune, wait, embed, and what else it can ask for."""

import json
import time

import openai
import pytest

ANIMALS = ["cat", "dog", "cow", "horse", "sheep", "goat", "pig", "hen", "duck", "goose", "fox", "wolf"]
JSONL = "".join(json.dumps({"anchor": f"which one is the {name}", "positive": f"this is a {name}"}) + "\n"
                for name in ANIMALS).encode()
CSV = ("question,context\n" + "".join(f"what is the {name},it is the {name} of the farm\n" for name in ANIMALS)).encode()
MODEL = "tiny"
SMALL = {"matryoshka_dims": [32, 16], "logging_steps": 1}
PATIENCE = 120


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=2)


@pytest.fixture(scope="module")
def file(client):
    """Pairs, a quarter of them to evaluate on."""
    extra = {"test_size": 0.25, "seed": 7}
    return client.files.create(file=("pairs.jsonl", JSONL), purpose="fine-tune", extra_body=extra)


def refused(status, call, param=None):
    """The error that a call ends with, which has the SDK's fields."""
    with pytest.raises(openai.APIStatusError) as raised:
        call()
    error = raised.value
    assert error.status_code == status, error
    assert param is None or error.param == param, (error.param, error)
    assert error.code and error.type, error.body
    return error


def wait(client, job, *statuses):
    """The job once it has one of the statuses."""
    deadline = time.monotonic() + PATIENCE
    while job.status not in statuses:
        assert job.status in ("validating_files", "queued", "running", "paused"), job
        assert time.monotonic() < deadline, job
        time.sleep(0.05)
        job = client.fine_tuning.jobs.retrieve(job.id)
    return job


def embed(client, model, text):
    return client.embeddings.create(model=model, input=text).data[0].embedding


def test_files_are_uploaded_listed_read_and_deleted(client, file):
    assert (file.object, file.purpose, file.status) == ("file", "fine-tune", "processed")
    assert (file.filename, file.bytes) == ("pairs.jsonl", len(JSONL))
    assert client.files.wait_for_processing(file.id, poll_interval=0.1).id == file.id
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).read() == JSONL
    raw = client.files.create(file=JSONL, purpose="fine-tune")
    oldest_first = [found.id for found in client.files.list(limit=1, order="asc", purpose="fine-tune")]
    assert oldest_first[-1] == raw.id and file.id in oldest_first
    assert [found.id for found in client.files.list(limit=2)] == oldest_first[::-1]
    assert client.files.list(purpose="batch").data == []
    deleted = client.files.delete(raw.id)
    assert deleted.deleted and deleted.id == raw.id
    refused(404, lambda: client.files.retrieve(raw.id))
    refused(400, lambda: client.files.list(after=raw.id), "after")


def test_a_bad_file_is_refused_with_the_line(client):
    def create(content=JSONL, purpose="fine-tune", **extra):
        return lambda: client.files.create(file=("x.jsonl", content), purpose=purpose, extra_body=extra)

    refused(400, create(purpose="batch"), "purpose")
    refused(400, create(test_sise=1), "test_sise")
    bad = refused(400, create(b'{"anchor": "a", "positive": "b"}\n{"anchor": "a"}\n'), "file")
    assert "2" in bad.message, bad.message


def test_all_that_is_wrong_with_a_job_is_told_at_once(client, file):
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 0}}}
    error = refused(400, lambda: client.fine_tuning.jobs.create(
        model=MODEL, training_file="file-nope", method=method, extra_body={"training": {"warmup_ratio": 2}}))
    for part in ("training_file", "method.supervised.hyperparameters.n_epochs", "training.warmup_ratio"):
        assert part in error.message, error.message
    refused(400, lambda: client.fine_tuning.jobs.create(model="nobody", training_file=file.id), "model")


def test_upload_fine_tune_wait_embed(client, file):
    validation = client.files.create(file=("pairs.csv", CSV), purpose="fine-tune",
                                     extra_body={"anchor": "question", "positive": "context"})
    wanted = {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 10}
    job = client.fine_tuning.jobs.create(
        model=MODEL, training_file=file.id, validation_file=validation.id, suffix="animals", seed=3,
        metadata={"team": "farm"},
        method={"type": "supervised", "supervised": {"hyperparameters": {**wanted, **SMALL}}})
    assert job.object == "fine_tuning.job" and job.status in ("queued", "running"), job
    assert {name: getattr(job.hyperparameters, name) for name in wanted} == wanted
    assert job.method.supervised.hyperparameters.n_epochs == 2 and job.seed == 3 and job.metadata == {"team": "farm"}
    job = wait(client, job, "succeeded", "failed")
    assert job.status == "succeeded", job
    assert job.trained_tokens > 0 and job.finished_at >= job.created_at and job.error is None
    assert embed(client, job.fine_tuned_model, "the cat") != embed(client, MODEL, "the cat")
    assert job.fine_tuned_model in [model.id for model in client.models.list()]

    events = list(client.fine_tuning.jobs.list_events(job.id, limit=2))
    assert len(events) == len({event.id for event in events}) > 5
    assert [event.created_at for event in events] == sorted((event.created_at for event in events), reverse=True)
    assert {event.type for event in events} == {"message", "metrics"}
    assert all(event.object == "fine_tuning.job.event" and event.message for event in events)

    last, first = client.fine_tuning.jobs.checkpoints.list(job.id, limit=1)
    assert last.step_number > first.step_number
    assert last.metrics.step == last.step_number and last.metrics.train_loss is not None
    for checkpoint in (last, first):
        assert embed(client, checkpoint.fine_tuned_model_checkpoint, "x")
    assert [found.id for found in client.fine_tuning.jobs.list(metadata={"team": "farm"})] == [job.id]
    assert job.id in [found.id for found in client.fine_tuning.jobs.list(limit=1)]


def test_a_paused_job_goes_on_to_the_same_weights(client, file):
    training = {"epochs": 40, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1,
                "save_total_limit": 100, **SMALL}
    wanted = {"model": MODEL, "training_file": file.id, "extra_body": {"training": training}}
    job = client.fine_tuning.jobs.create(**wanted)
    deadline = time.monotonic() + PATIENCE
    while not client.fine_tuning.jobs.checkpoints.list(job.id).data:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    paused = client.fine_tuning.jobs.pause(job.id)
    assert paused.status == "paused" and paused.finished_at is None, paused
    assert client.fine_tuning.jobs.resume(job.id).status == "queued"
    job = wait(client, job, "succeeded")
    other = wait(client, client.fine_tuning.jobs.create(**wanted), "succeeded")
    assert embed(client, job.fine_tuned_model, "a cow") == embed(client, other.fine_tuned_model, "a cow")

    begun = time.monotonic()
    error = refused(409, lambda: client.fine_tuning.jobs.cancel(job.id))
    assert error.response.headers["x-should-retry"] == "false" and time.monotonic() - begun < 5


def test_a_job_is_cancelled(client, file):
    job = client.fine_tuning.jobs.create(model=MODEL, training_file=file.id, extra_body={"training": SMALL},
                                         hyperparameters={"n_epochs": 500, "batch_size": "auto"})
    wait(client, job, "running")
    cancelled = client.fine_tuning.jobs.cancel(job.id)
    assert cancelled.status == "cancelled" and cancelled.fine_tuned_model is None and cancelled.finished_at, cancelled
    refused(404, lambda: client.fine_tuning.jobs.retrieve("ftjob-nope"))
    refused(400, lambda: client.fine_tuning.jobs.list(after="ftjob-nope"), "after")
