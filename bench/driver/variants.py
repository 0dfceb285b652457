"""Who serves: our binary in several precisions, and the peers behind bench/peer_server.py."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers import BENCH, Peers
from servers import Server, free_port

OURS = "matryo"
# Which precisions a peer is measured in, where the CPU has bf16.
PEERS = {
    "sentence-transformers": ["float32", "bf16"],
    "onnxruntime": ["float32"],
    "openvino": ["float32", "bf16"],
}
# What they are called in tables.
TITLES = {"sentence-transformers": "sentence-transformers", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


@dataclass(frozen=True)
class Variant:
    """A server to measure; `name` is its side and its precision."""

    side: str
    precision: str
    start: Callable[[], Server]

    @property
    def name(self) -> str:
        return f"{self.side}-{self.precision}"

    @property
    def ours(self) -> bool:
        return self.side == OURS


@dataclass
class Launcher:
    """What all servers are started with."""

    binary: Path
    model: Path
    scratch: Path
    threads: int
    # More arguments of `matryo serve`.
    arguments: list[str]
    peers: Peers

    def ours(self, precision: str) -> Variant:
        """`matryo serve` on an empty data folder, with the model registered under the name `model`."""
        def start() -> Server:
            data, port = self.scratch / "data", free_port()
            shutil.rmtree(data, ignore_errors=True)
            command = [self.binary, "serve", "--data-dir", data, "--listen", f"127.0.0.1:{port}",
                       "--model-root", self.model.parent, "--precision", precision, *self.arguments]
            return Registered(command, port, self.threads, self.scratch / "matryo-serve.log", self.model)

        return Variant(OURS, precision, start)

    def peer(self, side: str, precision: str) -> Variant:
        """A peer; ONNX Runtime's and OpenVINO's graph must be there."""
        def start() -> Server:
            port = free_port()
            command: list[Any] = [self.peers.python, BENCH / "peer_server.py", side, self.model, self.graph,
                                  "--precision", precision, "--threads", self.threads, "--port", port]
            return Server(command, port, self.threads, self.scratch / "peer-server.log")

        return Variant(side, precision, start)

    @property
    def graph(self) -> Path:
        """Where the model as ONNX lies."""
        return self.scratch / "model.onnx"


class Registered(Server):
    """Our server, which is told of its model after it started."""

    def __init__(self, command: list[Any], port: int, threads: int, log: Path, model: Path) -> None:
        super().__init__(command, port, threads, log)
        self.model = model

    def __enter__(self) -> "Registered":
        super().__enter__()
        try:
            self.call("POST", "/v1/models", {"source": "folder", "path": str(self.model), "name": "model"})
        except BaseException:
            self.__exit__()
            raise
        return self
