"""The peers' side: starts bench/peer*.py in the interpreter that has their packages."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import run

BENCH = Path(__file__).resolve().parents[1]

Measurement = dict[str, Any]


@dataclass
class Peers:
    """The interpreter, the folder for what it writes, and how it is run."""

    python: Path
    scratch: Path
    threads: int

    def sentence_transformers(self, command: str, *arguments: Any) -> Measurement:
        """A command of peer.py. `seconds` is what it timed itself, `process_seconds` the whole process."""
        return self._run("peer.py", command, *arguments, "--threads", self.threads)

    def openvino(self, *arguments: Any) -> Measurement:
        """Encoding by OpenVINO."""
        return self._run("peer_openvino.py", *arguments, "--threads", self.threads)

    def versions(self) -> dict[str, str | None]:
        """Versions of the interpreter's packages; none for what it lacks."""
        told = self._run("peer_setup.py", "versions")
        return {name: version for name, version in told.items() if not name.endswith(("_seconds", "_bytes"))}

    def peak(self, quick: bool) -> dict[str, float]:
        """The best GFLOP/s of PyTorch's products by precision."""
        flags = ["--quick"] if quick else []
        told = self._run("peer_setup.py", "peak", "--threads", self.threads, *flags)
        return {precision: told[precision] for precision in ("float32", "bf16")}

    def base_size_model(self, model: Path) -> Path:
        """A model of bge-base's size with random weights."""
        return Path(self._run("peer_setup.py", "base-size-model", model, self.scratch / "base-size")["folder"])

    def onnx(self, model: Path, graph: Path) -> None:
        """Writes the model's encoder as ONNX."""
        self._run("peer_setup.py", "onnx", model, graph)

    def _run(self, script: str, *arguments: Any) -> Measurement:
        out = self.scratch / "peer.json"
        out.unlink(missing_ok=True)
        command = [self.python, BENCH / script, *arguments, "--out", out]
        ran = run(command, self.threads, self.scratch / "peer.log")
        told = json.loads(out.read_text(encoding="utf-8"))
        return {**told, "process_seconds": ran.seconds, "peak_memory_bytes": ran.peak_memory_bytes}
