"""A Matryo server for the suites: the real binary on a free port, with data of its own."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

BINARY = os.environ["MATRYO_BINARY"]
# Loading, training on a handful of rows: seconds, minutes on a busy machine.
PATIENCE = 120


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """A server that runs until `stop`."""

    def __init__(self, folder, model_roots, api_key=None, settings=()):
        self.folder = pathlib.Path(folder)
        self.api_key = api_key
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = self.folder / "log"
        self.folder.mkdir(parents=True, exist_ok=True)
        # Offline: nothing here is to reach the Hub.
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "RUST_LOG": "warn"}
        environment.pop("MATRYO_API_KEY", None)
        if api_key:
            environment["MATRYO_API_KEY"] = api_key
        roots = [part for root in model_roots for part in ("--model-root", str(root))]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [BINARY, "serve", "--listen", f"127.0.0.1:{self.port}", "--data-dir", str(self.folder / "data"), *roots,
                 *settings], stderr=log, env=environment)
        self.wait("the server's start", self.answers)

    def answers(self):
        """Whether it is up."""
        if self.process.poll() is not None:
            raise RuntimeError(f"the server has ended:\n{self.log.read_text()}")
        try:
            urllib.request.urlopen(f"{self.url}/health", timeout=10).close()
            return True
        except urllib.error.URLError:
            return False

    def call(self, method, path, body=None, content_type="application/json", headers=()):
        """The JSON that a call answers; `urllib.error.HTTPError` otherwise."""
        data = json.dumps(body).encode() if body is not None and content_type == "application/json" else body
        text = self.fetch(path, {"content-type": content_type, **dict(headers)}, method, data)
        return json.loads(text) if text else None

    def fetch(self, path, headers=(), method="GET", data=None):
        """The bytes that a call answers."""
        headers = dict(headers)
        if self.api_key:
            headers["authorization"] = f"Bearer {self.api_key}"
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return response.read()

    def wait(self, what, is_so, patience=PATIENCE):
        """Asks until it is so; answers what `is_so` did."""
        deadline = time.monotonic() + patience
        while not (answer := is_so()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} took too long; the log says:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.05)
        return answer

    def add_model(self, name, folder):
        """Registers a folder as a base model."""
        return self.call("POST", "/v1/models", {"source": "folder", "path": str(folder), "name": name})

    def add_dataset(self, rows):
        """Uploads pairs, a fifth of them to evaluate on; its id."""
        lines = "".join(json.dumps({"anchor": anchor, "positive": positive}) + "\n" for anchor, positive in rows)
        path = "/v1/datasets?test_size=0.2"
        return self.call("POST", path, lines.encode(), "application/x-ndjson")["id"]

    def submit(self, dataset, base_model, **training):
        """Submits a job; its id."""
        body = {"dataset_id": dataset, "base_model": base_model, "training": training}
        return self.call("POST", "/v1/jobs", body)["id"]

    def wait_for_job(self, job, patience=PATIENCE):
        """Waits until a job has succeeded."""
        def ended():
            answer = self.call("GET", f"/v1/jobs/{job}")
            return answer if answer["status"] not in ("queued", "running") else None

        answer = self.wait(f"job {job}", ended, patience)
        assert answer["status"] == "succeeded", answer

    def resident_bytes(self):
        """Memory that the process holds."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("the process tells no VmRSS")

    def errors(self):
        """Lines of the log that tell of a fault of the server: each 5xx and each panic wrote one."""
        return [line for line in self.log.read_text().splitlines() if " ERROR " in line or "panicked" in line]

    def stop(self):
        """Stops it as an operator does; complains where it ended before, badly, or had a fault."""
        assert self.process.poll() is None, f"the server had ended by itself:\n{self.log.read_text()[-4000:]}"
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=PATIENCE) == 0, self.log.read_text()[-4000:]
        assert not self.errors(), "\n".join(self.errors()[:20])
