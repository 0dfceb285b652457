"""What PyTorch's interpreter is asked besides the peer's own work.

    torch_side.py packages --out OUT.json
    torch_side.py peak --out OUT.json
"""

import argparse
import importlib.metadata
import importlib.util
import json
import platform
from pathlib import Path
from statistics import median
from typing import Any

PACKAGES = ["torch", "sentence_transformers", "transformers", "datasets", "accelerate", "tokenizers", "flash_attn"]
# Rows and columns of the product that stands for the GPU's peak.
SIZE = 8192
WARM_UP, REPETITIONS = 5, 20


def packages() -> dict[str, Any]:
    """Versions, without importing anything: that takes seconds."""
    found: dict[str, Any] = {"python": platform.python_version()}
    for name in PACKAGES:
        there = importlib.util.find_spec(name) is not None
        try:
            found[name] = importlib.metadata.version(name.replace("_", "-")) if there else None
        except importlib.metadata.PackageNotFoundError:
            found[name] = "of unknown version"
    return found


def peak() -> dict[str, Any]:
    """bf16 TFLOP/s of a product of two large matrices of random numbers, by CUDA's events."""
    import torch

    # Random numbers: a GPU that multiplies zeros draws less power, and clocks higher.
    left, right = (torch.randn(SIZE, SIZE, device="cuda").bfloat16() for _ in range(2))
    out = torch.empty(SIZE, SIZE, device="cuda", dtype=torch.bfloat16)
    for _ in range(WARM_UP):
        torch.mm(left, right, out=out)
    times = []
    for _ in range(REPETITIONS):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        torch.mm(left, right, out=out)
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    rates = [2e-12 * SIZE**3 / seconds for seconds in times]
    return {
        "gpu": torch.cuda.get_device_name(0), "torch": torch.__version__, "cuda": torch.version.cuda, "size": SIZE,
        "repetitions": REPETITIONS, "tflops": median(rates), "least_tflops": min(rates), "most_tflops": max(rates),
    }


def main() -> None:
    """Runs one command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["packages", "peak"])
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    found = packages() if args.command == "packages" else peak()
    Path(args.out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
