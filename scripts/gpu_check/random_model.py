"""A model of bge-base's size with random weights, for speed alone, written without any package."""

import json
import random
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SIZES = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
# Numbers that are drawn at once.
CHUNK = 1 << 20
# A float32's sign and mantissa are drawn, its exponent is not: from 2^-6 to 2^-5, near the 0.02 that BERT begins with.
DRAWN, FIXED = bytes([0xFF, 0xFF, 0x7F, 0x80]), bytes([0x00, 0x00, 0x80, 0x3C])


def write(source: Path, folder: Path) -> None:
    """Writes the model with `source`'s tokenizer, modules and vocabulary."""
    leave = shutil.ignore_patterns("*.safetensors", "*.bin", "*.onnx", "*.h5", "onnx", "openvino", ".*")
    shutil.copytree(source, folder, ignore=leave)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    if config.get("model_type") != "bert":
        raise ValueError(f"{source} is no BERT, whose tokenizer is to be taken")
    config |= SIZES
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    pooling = folder / "1_Pooling/config.json"
    if pooling.exists():
        settings = json.loads(pooling.read_text(encoding="utf-8"))
        settings["word_embedding_dimension"] = SIZES["hidden_size"]
        pooling.write_text(json.dumps(settings), encoding="utf-8")
    write_weights(folder / "model.safetensors", tensors(config))


def tensors(config: dict[str, Any]) -> dict[str, list[int]]:
    """A BERT's tensors and their shapes."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    shapes = {f"embeddings.{name}_embeddings.weight": [config[key], hidden] for name, key in (
        ("word", "vocab_size"), ("position", "max_position_embeddings"), ("token_type", "type_vocab_size"))}
    norms = ["embeddings.LayerNorm"]
    linear = {"pooler.dense": (hidden, hidden)}
    for layer in range(config["num_hidden_layers"]):
        prefix = f"encoder.layer.{layer}."
        norms += [prefix + "attention.output.LayerNorm", prefix + "output.LayerNorm"]
        for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            linear[prefix + name] = (hidden, hidden)
        linear |= {prefix + "intermediate.dense": (inner, hidden), prefix + "output.dense": (hidden, inner)}
    shapes |= {f"{name}.{part}": [hidden] for name in norms for part in ("weight", "bias")}
    for name, (outputs, inputs) in linear.items():
        shapes |= {f"{name}.weight": [outputs, inputs], f"{name}.bias": [outputs]}
    return shapes


def write_weights(path: Path, shapes: dict[str, list[int]]) -> None:
    """Writes float32 tensors: norms as they begin, biases 0, all else drawn."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 4 * count(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    # The numbers begin at a multiple of 8.
    text += b" " * (-len(text) % 8)
    generator = random.Random(42)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            if name.endswith(".bias"):
                file.write(bytes(4 * count(shape)))
            elif "LayerNorm" in name:
                file.write(struct.pack("<f", 1.0) * count(shape))
            else:
                file.writelines(drawn(generator, count(shape)))


def count(shape: list[int]) -> int:
    """Numbers of a tensor."""
    product = 1
    for length in shape:
        product *= length
    return product


def drawn(generator: random.Random, numbers: int) -> Iterator[bytes]:
    """So many float32, of either sign, even between 2^-6 and 2^-5."""
    for first in range(0, numbers, CHUNK):
        here = min(CHUNK, numbers - first)
        # As one long number: Python computes bits of those as fast as memory is.
        bits = int.from_bytes(generator.randbytes(4 * here), "little")
        bits = bits & int.from_bytes(DRAWN * here, "little") | int.from_bytes(FIXED * here, "little")
        yield bits.to_bytes(4 * here, "little")
