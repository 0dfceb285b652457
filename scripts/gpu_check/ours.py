"""Our side: the shipped binary by its command line."""

import json
import math
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gpus
from processes import NoGpu, StepFailed, last_lines, run

# Phases of training steps; on a GPU each is the time of asking for it, and only their sum says something.
STEP_PHASES = ["pack", "forward", "loss", "backward", "optimizer"]
TOP_KERNELS = 15

Result = dict[str, Any]


@dataclass
class Matryo:
    """The binary, what it runs on, and the folder for what it writes."""

    binary: Path
    device: str
    scratch: Path
    environment: dict[str, str]

    def version(self) -> str:
        """What `matryo --version` says; nothing where it does not run."""
        try:
            ran = subprocess.run([self.binary, "--version"], capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return ran.stdout.strip().removeprefix("matryo ")

    def kernels(self, model: Path, limit: float) -> Result:
        """`matryo gpu-check`: every kernel, and the model as a whole. Raises NoGpu where it opens none and the driver
        shows none."""
        output = self.scratch / "kernels.json"
        ran = run([self.binary, "gpu-check", "--device", self.device, "--model", model], self.scratch / "kernels.log", limit,
                  self._cache("cache-of-kernels"), stdout=output)
        text = output.read_text(encoding="utf-8")
        if ran.code == 1 and not text.strip() and gpus.count() == 0:
            raise NoGpu(" ".join(last_lines(ran.log)[-1:]).removeprefix("error: "))
        if ran.code not in (0, 1) or not text.strip():
            raise ran.failure("matryo gpu-check")
        told = json.loads(text)
        comparisons = told["comparisons"]
        # What holds is said twice, so that neither side's slip passes.
        failed = [row for row in comparisons if not row["holds"] or not within(row)]
        if told["failed"] != len(failed) or (ran.code == 0) != (not failed) or not comparisons:
            raise StepFailed(f"matryo gpu-check contradicts itself: code {ran.code}, failed {told['failed']},"
                             f" {len(failed)} of {len(comparisons)} comparisons beyond their tolerance")
        return {"device": told["device"], "seconds": ran.seconds, "failed": len(failed), "comparisons": comparisons}

    def train(self, name: str, model: Path, files: tuple[Path, Path], epochs: int, limit: float,
              profile: bool = False) -> Result:
        """A whole job in a fresh folder, and what its report says. The cache of kernels is the same for all jobs."""
        out, report, kernels = (self.scratch / f"{name}{end}" for end in ("", "-report.json", "-kernels.json"))
        command = [self.binary, "train", "--train", files[0], "--eval", files[1], "--base-model", model, "--out", out,
                   "--report", report, "--epochs", epochs, "--precision", "bf16", "--device", self.device]
        if profile:
            command += ["--gpu-profile", kernels]
        try:
            ran = run(command, self.scratch / f"{name}.log", limit, self._cache("cache-of-jobs"))
        finally:
            # A model's checkpoints are gigabytes.
            shutil.rmtree(out, ignore_errors=True)
        if ran.code != 0:
            raise ran.failure("matryo train")
        told = json.loads(report.read_text(encoding="utf-8"))
        if not told["device"].startswith("cuda"):
            raise StepFailed(f"matryo train computed on {told['device']}", last_lines(ran.log))
        found = {**job(told), "seconds": ran.seconds, "process_peak_memory_bytes": ran.peak_memory_bytes}
        if profile:
            found["kernels"] = top_kernels(json.loads(kernels.read_text(encoding="utf-8"))["kernels"])
        return found

    def _cache(self, name: str) -> dict[str, str]:
        """An environment with a cache of this check's own, so that kernels are compiled in it and not before it."""
        return {**self.environment, "XDG_CACHE_HOME": str(self.scratch / name)}


def within(comparison: Result) -> bool:
    """Whether an error is within its tolerance; one that JSON has no number for is not."""
    error = comparison["error"]
    return isinstance(error, (int, float)) and math.isfinite(error) and error <= comparison["tolerance"]


def job(told: Result) -> Result:
    """What matters of a run's report."""
    timings, profile = told["timings"], told["profile"]
    phases = sum(profile["seconds"][phase] for phase in STEP_PHASES)
    # Steps are computed after they were asked for, so that only the wait at an epoch's end ends them.
    steps = max(timings["train"], phases)
    rate = phases / steps if steps > 0 else 0.0
    return {
        "wall_seconds": told["wall_seconds"],
        "step_seconds": steps,
        "timings": timings,
        "profile": profile,
        "step_gflops": profile["gflops"] * rate,
        "step_tokens_per_second": profile["tokens_per_second"] * rate,
        "steps": told["total_steps"],
        "device": told["device"],
        "peak_memory_bytes": told["peak_memory_bytes"],
        "peak_gpu_memory_bytes": told["peak_gpu_memory_bytes"],
        "train_rows": told["train_rows"],
        "eval_rows": told["eval_rows"],
        "arguments": told["config"],
        "evaluations": [
            {"epoch": row["epoch"], "values": {key: row[key] for key in row if key.startswith("dim_")}}
            for row in told["metrics"]
        ],
        "losses": [entry["loss"] for entry in told["losses"]],
        "warnings": told["warnings"],
    }


def top_kernels(kernels: list[Result]) -> Result:
    """Where a GPU's time goes, longest first."""
    whole = sum(kernel["seconds"] for kernel in kernels)
    longest = sorted(kernels, key=lambda kernel: -kernel["seconds"])[:TOP_KERNELS]
    return {
        "seconds": whole,
        "launches": sum(kernel["launches"] for kernel in kernels),
        "top": [{**kernel, "share": kernel["seconds"] / whole if whole > 0 else 0.0} for kernel in longest],
    }
