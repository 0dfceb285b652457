"""Programs that answer as matryo and as the peer's interpreter would, and the files that they are given."""

import json
import os
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DIMS = [384, 256, 128, 64]

# What FAKE_KERNELS and FAKE_TRAIN say decides how it behaves.
MATRYO = '''
import json, os, sys, time

def fail(kind):
    if kind == "crash":
        print("about to crash", file=sys.stderr, flush=True)
        os.abort()
    if kind == "none":
        sys.exit("error: there is no NVIDIA driver")
    if kind == "hang":
        time.sleep(600)

def value(name):
    return sys.argv[sys.argv.index(name) + 1]

if sys.argv[1] == "--version":
    print("matryo 0.1.0")
elif sys.argv[1] == "gpu-check":
    kind = os.environ.get("FAKE_KERNELS", "ok")
    fail(kind)
    rows = [{"name": f"norm_{n}", "error": 1e-4 * n, "tolerance": 1e-3, "holds": True} for n in range(5)]
    if kind == "wrong":
        rows[2] |= {"error": None, "holds": False}
    if kind == "lies":
        rows[2] |= {"error": 1.0}
    failed = sum(not row["holds"] for row in rows)
    device = {"name": "NVIDIA H100 80GB HBM3", "compute_capability": "9.0", "memory_bytes": 85 << 30,
              "multiprocessors": 132}
    print(json.dumps({"device": device, "comparisons": rows, "failed": failed}))
    sys.exit(failed > 0)
else:
    kind = os.environ.get("FAKE_TRAIN", "ok")
    fail(kind)
    cache = os.environ["XDG_CACHE_HOME"]
    cold = not os.path.exists(cache)
    os.makedirs(cache, exist_ok=True)
    epochs, out = int(value("--epochs")), value("--out")
    os.makedirs(out)
    shift = 0.001 if kind == "differs" and cold else 0.0
    metrics = [{"epoch": e, "step": 13 * e} | {f"dim_{d}_cosine_{m}": 0.7 + 0.01 * e + shift
               for d in DIMS for m in ("ndcg@10", "accuracy@1")} for e in range(epochs + 1)]
    phases = {"tokenize": 0.5, "pack": 0.1, "forward": 0.4, "loss": 0.1, "backward": 0.6, "optimizer": 0.8,
              "evaluate": 1.0, "save": 0.2}
    report = {
        "wall_seconds": 5.0, "total_steps": 13 * epochs, "train_rows": 6300, "eval_rows": 700, "warnings": [],
        "device": "cpu" if kind == "cpu" else "cuda:0 (NVIDIA H100 80GB HBM3)",
        "peak_memory_bytes": 1 << 30, "peak_gpu_memory_bytes": 4 << 30,
        "timings": {"tokenize": 0.5, "baseline": 0.2, "train": 4.0, "evaluate": 0.8, "save": 0.2},
        "profile": {"seconds": phases, "tokens": 1000, "tokens_per_second": 500.0, "gflops": 400000.0},
        "config": {"epochs": epochs, "per_device_train_batch_size": 32, "gradient_accumulation_steps": 16,
                   "matryoshka_dims": DIMS},
        "metrics": metrics, "losses": [{"step": 1, "loss": 0.5}],
    }
    with open(value("--report"), "w") as file:
        json.dump(report, file)
    if "--gpu-profile" in sys.argv:
        kernels = [{"name": "norm", "launches": 10, "seconds": 0.25}, {"name": "gelu", "launches": 5, "seconds": 0.75}]
        with open(value("--gpu-profile"), "w") as file:
            json.dump({"kernels": kernels}, file)
'''

# What FAKE_PEER says decides what the peer comes to.
PYTHON = '''
import json, os, sys

kind = os.environ.get("FAKE_PEER", "ok")
if sys.argv[1] == "-c":
    sys.exit()
script, command, out = os.path.basename(sys.argv[1]), sys.argv[2], sys.argv[sys.argv.index("--out") + 1]
if command == "packages":
    found = {"torch": "2.11.0", "sentence_transformers": "6.2.0", "datasets": "5.2.0", "accelerate": "1.15.0",
             "flash_attn": "2.8.3" if kind == "flash" else None}
    if kind == "lacks":
        found["datasets"] = None
elif command == "peak":
    found = {"gpu": "NVIDIA H100 80GB HBM3", "tflops": 800.0}
else:
    assert script == "peer.py" and os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    if kind == "fails":
        sys.exit("out of memory")
    epochs = int(sys.argv[sys.argv.index("--epochs") + 1])
    apart = 0.02 if kind == "apart" else 0.002
    found = {"timings": {"baseline": 2.0, "train": 60.0, "evaluations": 8.0}, "step_seconds": [1.0] * 40,
             "peak_gpu_memory_bytes": 8 << 30,
             "evaluations": [{"epoch": e, "values": {f"dim_{d}_cosine_{m}": 0.7 + 0.01 * e + apart
                              for d in DIMS for m in ("ndcg@10", "accuracy@1")}} for e in range(epochs + 1)]}
with open(out, "w") as file:
    json.dump(found, file)
'''


class Bench:
    """A folder with the fakes, and the command run in it."""

    def __init__(self) -> None:
        self.held = tempfile.TemporaryDirectory()
        self.folder = Path(self.held.name)
        self.matryo = self.program("matryo", MATRYO)
        self.python = self.program("python", PYTHON)
        (self.folder / "model").mkdir()
        (self.folder / "model/config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
        for name in ("train.jsonl", "eval.jsonl"):
            (self.folder / name).write_text('{"id": "1", "anchor": "a", "positive": "b"}\n', encoding="utf-8")
        self.report_path = self.folder / "report.json"

    def program(self, name: str, text: str) -> Path:
        """A Python program that can be started by its path."""
        path = self.folder / name
        path.write_text(f"#!{sys.executable}\nDIMS = {DIMS}\n{text}", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    def arguments(self, **changed: Any) -> list[str]:
        """All that must be given; `None` leaves one out."""
        given = {"binary": self.matryo, "model": self.folder / "model", "train": self.folder / "train.jsonl",
                 "eval": self.folder / "eval.jsonl", "out": self.report_path, "python": self.python} | changed
        return [word for name, value in given.items() if value is not None for word in (f"--{name}", str(value))]

    def start(self, arguments: list[str], **variables: str) -> subprocess.Popen:
        """The command under way; no GPU is shown to it."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FAKE_")}
        environment |= {"TMPDIR": str(self.folder), "CUDA_VISIBLE_DEVICES": "", **variables}
        return subprocess.Popen([ROOT / "scripts/gpu-check", *arguments], cwd=self.folder, env=environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def stopped(self, step: str, **variables: str) -> tuple[int, str]:
        """The exit code and the errors of a run that is asked to stop as soon as a step is under way."""
        with self.start([*self.arguments(), "--skip-peer"], **variables) as process:
            try:
                self.wait_for(step)
                process.terminate()
                _, errors = process.communicate(timeout=30)
            finally:
                process.kill()
        return process.returncode, errors

    def run(self, *more: str, **variables: str) -> tuple[int, dict[str, Any], str, str]:
        """The exit code, the report, and both outputs."""
        process = self.start([*self.arguments(), *more], **variables)
        output, errors = process.communicate(timeout=60)
        return process.returncode, self.report(), output, errors

    def report(self) -> dict[str, Any]:
        """The report as it is now."""
        return json.loads(self.report_path.read_text(encoding="utf-8"))

    def wait_for(self, step: str) -> None:
        """Waits until a step is under way."""
        until = time.monotonic() + 30
        while time.monotonic() < until:
            if self.report_path.exists() and self.report()["steps"].get(step, {}).get("status") == "running":
                return
            time.sleep(0.02)
        raise AssertionError(f"{step} did not begin")
