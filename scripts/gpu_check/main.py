"""The command scripts/gpu-check: its steps in order, and what they come to."""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import compare
import datasheet
import gpus
import random_model
import summary
from arguments import parse
from ours import Matryo
from peers import Peers, lacking
from processes import Interrupts, NoGpu, progress
from report import Report

# The most seconds of each step; --limit-s bounds all of them together.
MOST = {"model": 60, "kernels": 180, "job": 240, "profile": 120, "packages": 60, "peak": 60, "peer": 240}
ATTENTIONS = ["sdpa", "flash_attention_2"]

Result = dict[str, Any]


class Check:
    """One run of the command."""

    def __init__(self, args: argparse.Namespace, scratch: Path) -> None:
        self.args, self.scratch = args, scratch
        environment = gpus.quiet_environment()
        folders = gpus.library_folders(args.python)
        self.matryo = Matryo(args.binary, args.device, scratch, gpus.with_folders(environment, folders))
        self.peers = Peers(args.python, scratch, gpus.alone(environment, args.device))
        self.model: Path | None = args.model
        self.report = Report(args.out, args.limit_s, {
            "arguments": {key: value if isinstance(value, (int, str)) else str(value)
                          for key, value in vars(args).items()},
            "matryo": {"version": self.matryo.version(), "library_folders": folders},
            "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        })

    def step(self, name: str, what: str, most: float, work: Callable[[float], Result]) -> Result | None:
        """Does a step and puts what it finds into the report, under its name."""
        result = self.report.step(name, what, most, work)
        if result is not None:
            self.report.found[name] = result
            self.report.save()
        return result

    def run(self) -> bool:
        """All steps; true where nothing is wrong. Raises NoGpu where there is none."""
        self.step("kernels", "matryo gpu-check", MOST["kernels"],
                  lambda limit: self.matryo.kernels(self.args.model, limit))
        if self.args.random_bge:
            self.make_model()
        if self.model:
            self.job("job_cold", "the job, its kernels compiled first", self.args.epochs)
            self.job("job_warm", "the same again", self.args.epochs)
            self.job("profile", "one epoch, waiting after each kernel", 1)
        self.torch()
        self.report.found |= self.figures()
        return self.report.finish(self.verdict())

    def make_model(self) -> None:
        """The model of bge-base's size; none where it cannot be made."""
        folder, self.model = self.scratch / "random-bge", None

        def work(_: float) -> Result:
            random_model.write(self.args.model, folder)
            self.model = folder
            return {"layers": random_model.SIZES["num_hidden_layers"], "hidden": random_model.SIZES["hidden_size"]}

        self.step("model", "writing a model of bge-base's size", MOST["model"], work)

    def job(self, name: str, what: str, epochs: int) -> None:
        """A job by the binary."""
        def work(limit: float) -> Result:
            files = (self.args.train, self.args.eval)
            return self.matryo.train(name, self.model, files, epochs, limit, profile=name == "profile")

        self.step(name, what, MOST["profile" if name == "profile" else "job"], work)

    def torch(self) -> None:
        """What PyTorch reaches on the same GPU: its product of matrices, and the same job."""
        packages = self.step("packages", "what the interpreter has", MOST["packages"], self.peers.packages) or {}
        if packages.get("torch"):
            self.step("peak", "PyTorch's bf16 product of large matrices", MOST["peak"], self.peers.peak)
        else:
            self.report.skip("peak", f"{self.args.python} has no PyTorch")
        for attention in ATTENTIONS:
            reason = self.no_peer(attention, packages)
            if reason:
                self.report.skip(f"peer_{attention}", reason)
            else:
                self.peer(attention)

    def peer(self, attention: str) -> None:
        """The same job by sentence-transformers."""
        def work(limit: float) -> Result:
            files = (self.args.train, self.args.eval)
            return self.peers.train(attention, self.model, files, self.arguments(), limit)

        self.step(f"peer_{attention}", f"sentence-transformers, {attention}", MOST["peer"], work)

    def no_peer(self, attention: str, packages: Result) -> str | None:
        """Why the peer is left out, where it is."""
        missing = lacking(packages)
        if self.args.skip_peer:
            return "--skip-peer"
        if missing:
            return f"{self.args.python} lacks {', '.join(missing)}"
        if attention == "flash_attention_2" and not packages.get("flash_attn"):
            return f"{self.args.python} lacks flash_attn"
        return None if self.model else "there is no model to train"

    def arguments(self) -> Result:
        """Our job's arguments, or the recipe's where it failed: the peer's figures are worth having by themselves."""
        dims = [768, 512, 256, 128, 64] if self.args.random_bge else [384, 256, 128, 64]
        job = self.report.found.get("job_warm") or self.report.found.get("job_cold") or {}
        return job.get("arguments") or {"epochs": self.args.epochs, "per_device_train_batch_size": 32,
                                        "gradient_accumulation_steps": 16, "matryoshka_dims": dims}

    def figures(self) -> Result:
        """What the steps' results say together."""
        found = self.report.found
        warm, cold, peak = found.get("job_warm"), found.get("job_cold"), found.get("peak", {})
        figures: Result = {"comparison": {}}
        if warm:
            name = found.get("kernels", {}).get("device", {}).get("name") or peak.get("gpu") or warm["device"]
            figures["utilisation"] = compare.utilisation(warm, peak.get("tflops"), datasheet.peak_tflops(name))
        if warm and cold:
            figures["repeats"] = compare.repeats(cold, warm)
            figures["compiling_seconds"] = cold["seconds"] - warm["seconds"]
        for attention in ATTENTIONS:
            peer = found.get(f"peer_{attention}")
            if warm and peer:
                compared: Result = {"ratios": compare.ratios(warm, peer)}
                # Random weights have no metrics that mean anything.
                if not self.args.random_bge:
                    compared["metrics"] = compare.metrics(
                        warm["evaluations"], peer["evaluations"], warm["eval_rows"])
                figures["comparison"][attention] = compared
        return figures

    def verdict(self) -> list[Result]:
        """What is right, what is wrong, and what could not be told (null)."""
        found = self.report.found
        kernels, comparison = found.get("kernels"), found["comparison"]
        points = [
            {"what": "every kernel computes what the CPU does", "holds": kernels is not None and not kernels["failed"]},
            {"what": "the job ran twice on the GPU", "holds": "job_cold" in found and "job_warm" in found},
            {"what": "both runs came to the same, bit for bit", "holds": found.get("repeats")},
        ]
        for attention in ATTENTIONS:
            metrics = comparison.get(attention, {}).get("metrics")
            points.append({"what": f"ndcg@10 agrees with sentence-transformers' ({attention})",
                           "holds": metrics["holds"] if metrics else None})
        return points


def main() -> int:
    """The exit code, as `arguments.EPILOG` says."""
    args = parse(sys.argv[1:])
    Interrupts.listen()
    try:
        with tempfile.TemporaryDirectory(prefix="gpu-check-") as scratch:
            check = Check(args, Path(scratch))
            ok = check.run()
        print("\n" + "\n".join(summary.lines(check.report.found)))
        progress(f"the report is in {args.out}")
        return 0 if ok else 1
    except NoGpu as error:
        print(f"gpu-check: this machine has no GPU for matryo, so nothing was measured: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"gpu-check: stopped; what was finished is in {args.out}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
