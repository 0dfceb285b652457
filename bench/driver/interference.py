"""Latency of /embed beside a training job on the same server, and the job's throughput beside such a load."""

import json
import time
from datetime import datetime
from typing import Any

from load import closed_loop, paced
from processes import BenchmarkError
from servers import Server

# The recipe's micro-batches; fewer of them to an optimizer step, so that a window of seconds holds several steps.
BATCH = 32
ACCUMULATION = 4
# A modest load: requests a second, over this many connections.
PER_SECOND = 20
PACED_CONNECTIONS = 4
START_SECONDS = 300

Row = dict[str, Any]


def interference(server: Server, request: bytes, rows: list[Row], seconds: float) -> dict[str, Any]:
    """The same loads without and with a job, and the job without load and with each."""
    closed_loop(server.port, [request] * 100, 1, 0)
    found: dict[str, Any] = {"idle": loads(server, request, seconds, None)}
    job = Job(server, rows)
    job.await_steps()
    begun = time.time()
    # At least so long that several optimizer steps lie in it.
    time.sleep(max(seconds, 12))
    alone = job.pairs_per_second(begun, time.time())
    found["training"] = loads(server, request, seconds, job)
    found["training_pairs_per_second"] = {
        "without_load": alone,
        **{name: figures.pop("training_pairs_per_second") for name, figures in found["training"].items()},
    }
    job.cancel()
    return found


def loads(server: Server, request: bytes, seconds: float, job: "Job | None") -> dict[str, dict[str, Any]]:
    """One connection without pause, and a fixed rate over several."""
    found: dict[str, dict[str, Any]] = {}
    for name, run in {
        "closed": lambda: closed_loop(server.port, [request] * 10, 1, seconds),
        "paced": lambda: paced(server.port, request, PACED_CONNECTIONS, PER_SECOND, seconds),
    }.items():
        begun = time.time()
        found[name] = run().figures()
        if job:
            found[name]["training_pairs_per_second"] = job.pairs_per_second(begun, time.time())
    return found


class Job:
    """A job that trains until it is cancelled."""

    def __init__(self, server: Server, rows: list[Row]) -> None:
        self.server = server
        lines = "".join(json.dumps({key: row[key] for key in ("anchor", "positive")}) + "\n" for row in rows)
        dataset = server.call("POST", "/v1/datasets?name=pairs&format=jsonl&test_size=0.02", lines.encode(),
                              "application/x-ndjson")
        self.id = server.call("POST", "/v1/jobs", {
            "dataset_id": dataset["id"], "base_model": "model",
            "training": {"epochs": 50, "per_device_train_batch_size": BATCH,
                         "gradient_accumulation_steps": ACCUMULATION, "logging_steps": 1},
        })["id"]

    def events(self) -> list[Row]:
        """All events so far."""
        found: list[Row] = []
        cursor: int | None = 0
        while cursor is not None:
            page = self.server.call("GET", f"/v1/jobs/{self.id}/events?limit=1000&last_event_id={cursor}")
            found += page["data"]
            cursor = page["next_cursor"]
        return found

    def await_steps(self) -> None:
        """Waits until the first optimizer step is done."""
        begun = time.monotonic()
        while not any(event["type"] == "step" for event in self.events()):
            self._check_running()
            if time.monotonic() - begun > START_SECONDS:
                raise BenchmarkError(f"the job did no training step in {START_SECONDS} seconds")
            time.sleep(0.2)

    def pairs_per_second(self, begun: float, ended: float) -> float | None:
        """Training throughput between two moments, evaluations and saving not counted; none for less than two steps."""
        self._check_running()
        pairs = seconds = 0.0
        last: float | None = None
        for event in self.events():
            at = datetime.fromisoformat(event["created_at"]).timestamp()
            if event["type"] != "step" or not begun <= at <= ended:
                # Whatever else happens between two steps, their distance is not of training alone.
                last = None
                continue
            if last is not None:
                pairs, seconds = pairs + BATCH * ACCUMULATION, seconds + at - last
            last = at
        return pairs / seconds if seconds else None

    def cancel(self) -> None:
        """Stops it, and waits until it has."""
        self.server.call("POST", f"/v1/jobs/{self.id}/cancel")
        while self.server.call("GET", f"/v1/jobs/{self.id}")["status"] == "running":
            time.sleep(0.1)

    def _check_running(self) -> None:
        job = self.server.call("GET", f"/v1/jobs/{self.id}")
        if job["status"] not in ("queued", "running"):
            raise BenchmarkError(f"the job is {job['status']} while it should train: {job['error']}")
