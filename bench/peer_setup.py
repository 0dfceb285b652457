"""What the benchmark needs of PyTorch besides the peer's own work: versions, this machine's peak, models.

    peer_setup.py versions --out OUT.json
    peer_setup.py peak --threads N --out OUT.json
    peer_setup.py base-size-model MODEL FOLDER --out OUT.json
    peer_setup.py onnx MODEL GRAPH.onnx --out OUT.json
"""

import argparse
import importlib.metadata
import json
import platform
import shutil
import time
from pathlib import Path
from typing import Any

# Rows, inner size and columns of the products that stand for the machine's peak.
SHAPES = [(2048, 768, 3072), (4096, 4096, 4096), (8192, 4096, 4096)]
PACKAGES = ["sentence-transformers", "transformers", "torch", "tokenizers", "datasets", "accelerate", "openvino",
            "onnxruntime", "onnx"]


def versions(_: argparse.Namespace) -> dict[str, str | None]:
    """Versions of what the peer runs on; none for what is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def peak(args: argparse.Namespace) -> dict[str, float]:
    """The best GFLOP/s of PyTorch's matrix product by precision, over shapes and repetitions."""
    import torch

    torch.set_num_threads(args.threads)
    best = {"float32": 0.0, "bf16": 0.0}
    for precision, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
        for rows, inner, columns in SHAPES[: 1 if args.quick else None]:
            left, right = torch.randn(rows, inner).to(dtype), torch.randn(inner, columns).to(dtype)
            out = torch.empty(rows, columns, dtype=dtype)
            for _ in range(3 if args.quick else 8):
                started = time.perf_counter()
                torch.mm(left, right, out=out)
                seconds = time.perf_counter() - started
                best[precision] = max(best[precision], 2e-9 * rows * inner * columns / seconds)
    return best


def base_size_model(args: argparse.Namespace) -> dict[str, Any]:
    """Writes a model of bge-base's size with random weights and the given model's tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(42)
    source, folder = Path(args.model), Path(args.folder)
    config = AutoConfig.from_pretrained(source)
    config.update({"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072})
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors", "*.bin", "onnx", "openvino"))
    AutoModel.from_config(config, dtype=torch.float32).save_pretrained(folder)
    pooling = folder / "1_Pooling/config.json"
    settings = json.loads(pooling.read_text(encoding="utf-8"))
    pooling.write_text(json.dumps(settings | {"word_embedding_dimension": 768}), encoding="utf-8")
    return {"folder": str(folder)}


def onnx(args: argparse.Namespace) -> dict[str, Any]:
    """Writes the model's encoder as ONNX: `ids` and `mask` [batch, tokens] in, hidden states out."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    class Hidden(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            # Eager attention traces for any shape.
            self.encoder = AutoModel.from_pretrained(args.model, attn_implementation="eager").eval()

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state

    example = AutoTokenizer.from_pretrained(args.model)(["hello world", "a b c"], padding=True, return_tensors="pt")
    axes = {name: {0: "batch", 1: "tokens"} for name in ("ids", "mask")}
    torch.onnx.export(Hidden(), (example["input_ids"], example["attention_mask"]), args.graph,
                      input_names=["ids", "mask"], output_names=["hidden"], dynamic_axes=axes, opset_version=17,
                      dynamo=False)
    return {"graph": args.graph}


def main() -> None:
    """Runs one command."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    for name, run in (("versions", versions), ("peak", peak), ("base-size-model", base_size_model), ("onnx", onnx)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--out", required=True)
        if run is base_size_model:
            command.add_argument("model")
            command.add_argument("folder")
        if run is onnx:
            command.add_argument("model")
            command.add_argument("graph")
        if run is peak:
            command.add_argument("--threads", type=int, required=True)
            command.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    Path(args.out).write_text(json.dumps(args.run(args)), encoding="utf-8")


if __name__ == "__main__":
    main()
