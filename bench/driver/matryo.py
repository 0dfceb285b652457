"""Our side: the shipped binary by its command line."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import BenchmarkError, progress, run

# Phases of a training step; tokenising, evaluation and saving are not of it.
STEP_PHASES = ["pack", "forward", "loss", "backward", "optimizer"]

Measurement = dict[str, Any]


@dataclass
class Matryo:
    """The binary, the folder for what it writes, and how it is run."""

    binary: Path
    scratch: Path
    threads: int

    def version(self) -> str:
        """What `matryo --version` says."""
        try:
            ran = subprocess.run([self.binary, "--version"], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise BenchmarkError(f"{self.binary} does not run: {error}") from error
        return ran.stdout.strip()

    def variants(self, command: str, precisions: list[str]) -> dict[str, str | None]:
        """Names of the variants to measure, and what each is given as --precision.

        A command without that flag has one variant, what it does by default.
        """
        if not self._has_precision(command):
            progress(f"matryo {command} has no --precision: it is measured as it runs by default")
            return {"default": None}
        return {precision: precision for precision in precisions}

    def automatic(self, command: str) -> str | None:
        """What makes the command choose its precision itself."""
        return "auto" if self._has_precision(command) else None

    def _has_precision(self, command: str) -> bool:
        ran = subprocess.run([self.binary, command, "--help"], capture_output=True, text=True, check=True)
        return "--precision" in ran.stdout

    def train(
        self, model: Path, train: Path, test: Path, precision: str | None, dims: list[int], batch: int,
        accumulation: int,
    ) -> Measurement:
        """A run of one epoch in a fresh folder: evaluation before and after, and saving, are of it."""
        out, report = self.scratch / "run", self.scratch / "report.json"
        shutil.rmtree(out, ignore_errors=True)
        command = [self.binary, "train", "--train", train, "--eval", test, "--base-model", model, "--out", out,
                   "--report", report, "--epochs", 1, "--per-device-train-batch-size", batch,
                   "--gradient-accumulation-steps", accumulation, "--matryoshka-dims", ",".join(map(str, dims)),
                   *precision_flag(precision)]
        ran = run(command, self.threads, self.scratch / "matryo.log")
        shutil.rmtree(out)
        told = json.loads(report.read_text(encoding="utf-8"))
        profile = told.get("profile")
        phases = (profile or {}).get("seconds")
        return {
            "seconds": ran.seconds,
            "peak_memory_bytes": ran.peak_memory_bytes,
            "train_seconds": sum(phases[phase] for phase in STEP_PHASES) if phases else told["timings"]["train"],
            "steps": told["total_steps"],
            "timings": told["timings"],
            "profile": profile,
            "ndcg": {key: value for key, value in told["metrics"][-1].items() if key.endswith("ndcg@10")},
            "losses": [entry["loss"] for entry in told["losses"]],
        }

    def evaluate(self, model: Path, train: Path, test: Path, precision: str | None, dims: list[int]) -> Measurement:
        """`matryo eval`, the whole process."""
        output = self.scratch / "eval.json"
        command = [self.binary, "eval", "--model", model, "--train", train, "--eval", test, "--json",
                   "--dims", ",".join(map(str, dims)), *precision_flag(precision)]
        ran = run(command, self.threads, self.scratch / "matryo.log", stdout=output)
        metrics = json.loads(output.read_text(encoding="utf-8"))["metrics"]
        return {
            "seconds": ran.seconds,
            "peak_memory_bytes": ran.peak_memory_bytes,
            "ndcg": {key: value for key, value in metrics.items() if key.endswith("ndcg@10")},
        }

    def embed(self, model: Path, texts: Path, embeddings: Path, precision: str | None) -> Measurement:
        """`matryo embed`, the whole process, JSON Lines in and out."""
        command = [self.binary, "embed", "--model", model, "--json", *precision_flag(precision)]
        ran = run(command, self.threads, self.scratch / "matryo.log", stdin=texts, stdout=embeddings)
        return {"seconds": ran.seconds, "peak_memory_bytes": ran.peak_memory_bytes}


def precision_flag(precision: str | None) -> list[str]:
    """None is for a command without the flag."""
    return ["--precision", precision] if precision else []
