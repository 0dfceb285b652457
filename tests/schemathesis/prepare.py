"""Gives a server something to be asked about: a model, a dataset and a job that has ended.

prepare.py URL MODEL_FOLDER prints the ids as NAME=VALUE.
"""

import json
import sys
import time
import urllib.error
import urllib.request

URL, FOLDER = sys.argv[1:]
DEADLINE = time.monotonic() + 120
ANIMALS = ["cat", "dog", "cow", "horse", "sheep", "goat", "pig", "hen", "duck", "goose"]


def call(method, path, body=None, content_type="application/json"):
    """The JSON that a call answers."""
    data = json.dumps(body).encode() if content_type == "application/json" and body is not None else body
    request = urllib.request.Request(URL + path, data, {"content-type": content_type}, method=method)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def wait(what, is_so):
    """Asks until it is so."""
    while not is_so():
        if time.monotonic() > DEADLINE:
            sys.exit(f"prepare.py: {what} took too long")
        time.sleep(0.1)


def answers():
    """Whether the server is up."""
    try:
        call("GET", "/health")
        return True
    except urllib.error.URLError:
        return False


def main():
    wait("the server's start", answers)
    model = call("POST", "/v1/models", {"source": "folder", "path": FOLDER, "name": "tiny"})
    rows = "".join(f'{{"anchor": "which one is the {name}", "positive": "this is a {name}"}}\n' for name in ANIMALS)
    dataset = call("POST", "/v1/datasets?test_size=0.2", rows.encode(), "application/x-ndjson")
    training = {"epochs": 1, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1}
    body = {"dataset_id": dataset["id"], "base_model": "tiny", "training": {**training, "matryoshka_dims": [32, 16]}}
    job = call("POST", "/v1/jobs", body)
    path = f"/v1/jobs/{job['id']}"
    wait("the job", lambda: call("GET", path)["status"] not in ("queued", "running"))
    job = call("GET", path)
    if job["status"] != "succeeded":
        sys.exit(f"prepare.py: the job ended as {job}")
    print(f"MODEL_ID={model['id']}\nDATASET_ID={dataset['id']}\nJOB_ID={job['id']}")


if __name__ == "__main__":
    main()
