"""Servers as child processes: started, waited for, asked, and stopped; one at a time."""

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from processes import LAST_LINES, BenchmarkError, environment

START_SECONDS = 180
STOP_SECONDS = 30


class Server:
    """A running server on a port of this machine; a context manager that stops it."""

    def __init__(self, command: list[Any], port: int, threads: int, log: Path) -> None:
        self.command, self.port, self.log = [str(part) for part in command], port, log
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment(threads))

    def __enter__(self) -> "Server":
        try:
            self._await()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def call(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """The JSON that the server answers. Raises BenchmarkError for statuses from 400 on."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, data, {"content-type": content_type, "accept": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:
            raise BenchmarkError(f"{method} {path} was answered by {answer.status}: {text[:500]!r}")
        return json.loads(text) if text else None

    def cpu_seconds(self) -> float | None:
        """Processor time that the server took so far; none where the system does not tell."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_memory_bytes(self) -> int | None:
        """The most memory that it held so far; none where the system does not tell."""
        try:
            lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8").splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)

    def _await(self) -> None:
        begun = time.monotonic()
        while time.monotonic() - begun < START_SECONDS:
            if self.process.poll() is not None:
                break
            try:
                self.call("GET", "/health")
                return
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
        tail = "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:])
        raise BenchmarkError(f"this server did not start:\n  {' '.join(self.command)}\nits last output was:\n{tail}")


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
