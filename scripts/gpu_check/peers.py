"""The peer's side: bench/peer.py and torch_side.py, started in the interpreter that has their packages."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import run

HERE = Path(__file__).resolve().parent
PEER = HERE.parents[1] / "bench" / "peer.py"
# What bench/peer.py imports to train.
NEEDED = ["torch", "sentence_transformers", "datasets", "accelerate"]

Result = dict[str, Any]


@dataclass
class Peers:
    """The interpreter, and the folder for what it writes."""

    python: Path
    scratch: Path
    environment: dict[str, str]

    def packages(self, limit: float) -> Result:
        """Versions of the packages that matter; null for those that are not installed."""
        return self._run("packages", [HERE / "torch_side.py", "packages"], limit)

    def peak(self, limit: float) -> Result:
        """The GPU's bf16 TFLOP/s by PyTorch's product of two large matrices."""
        return self._run("peak", [HERE / "torch_side.py", "peak"], limit)

    def train(self, attention: str, model: Path, files: tuple[Path, Path], arguments: Result, limit: float) -> Result:
        """The same job as ours, with its arguments, evaluations and checkpoints."""
        name = f"peer-{attention}"
        command = [PEER, "train", model, files[0], "--test", files[1], "--whole-job", "--precision", "bf16",
                   "--device", "cuda", "--attention", attention, "--epochs", arguments["epochs"],
                   "--batch", arguments["per_device_train_batch_size"],
                   "--accumulation", arguments["gradient_accumulation_steps"],
                   "--dims", ",".join(map(str, arguments["matryoshka_dims"])), "--threads", os.cpu_count() or 1]
        try:
            return self._run(name, command, limit)
        finally:
            shutil.rmtree(self.scratch / f"{name}.json.trainer", ignore_errors=True)

    def _run(self, name: str, command: list[Any], limit: float) -> Result:
        out = self.scratch / f"{name}.json"
        ran = run([self.python, *command, "--out", out], self.scratch / f"{name}.log", limit, self.environment)
        if ran.code != 0:
            raise ran.failure(Path(str(command[0])).name)
        told = json.loads(out.read_text(encoding="utf-8"))
        return {**told, "seconds": ran.seconds, "process_peak_memory_bytes": ran.peak_memory_bytes}


def lacking(packages: Result) -> list[str]:
    """What must be installed before the peer can train."""
    return [name for name in NEEDED if packages.get(name) is None]
