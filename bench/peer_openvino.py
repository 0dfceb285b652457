"""The fastest peer for encoding on a CPU with bf16: OpenVINO, with sentence-transformers' tokenizer and pooling.

    peer_openvino.py MODEL TEXTS.jsonl --precision bf16 --threads N --out OUT.json [--against EMBEDDINGS.jsonl]

Batches of 32, longest texts first, as encode() does it. Loading and compiling are not timed.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import openvino
import torch
from sentence_transformers import SentenceTransformer

from peer import agreement, read_lines

BATCH = 32


class LastHidden(torch.nn.Module):
    """The encoder alone: ids and mask in, hidden states out."""

    def __init__(self, encoder: torch.nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Hidden states [batch, tokens, hidden]."""
        return self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state


def compile_encoder(model: SentenceTransformer, precision: str, threads: int) -> openvino.CompiledModel:
    """The encoder, traced for batches of any shape and compiled for this CPU."""
    encoder = LastHidden(model[0].model).eval()
    example = model.tokenizer(["hello world", "a b c"], padding=True, return_tensors="pt")
    with torch.no_grad():
        converted = openvino.convert_model(
            encoder, example_input={"ids": example["input_ids"], "mask": example["attention_mask"]}
        )
    settings = {"INFERENCE_PRECISION_HINT": {"float32": "f32"}.get(precision, precision),
                "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    return openvino.Core().compile_model(converted, "CPU", settings)


def main() -> None:
    """Encodes all texts once, timed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--out", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--precision", choices=["float32", "bf16"], required=True)
    parser.add_argument("--against")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    texts = [line["text"] for line in read_lines(args.data)]
    # Eager attention traces for any shape.
    model = SentenceTransformer(args.model, device="cpu", model_kwargs={"attn_implementation": "eager"})
    compiled = compile_encoder(model, args.precision, args.threads)

    def embed(batch: list[str]) -> np.ndarray:
        tokens = model.tokenizer(batch, padding=True, truncation=True, max_length=model.max_seq_length,
                                 return_tensors="np")
        mask = tokens["attention_mask"].astype("int64")
        hidden = compiled([tokens["input_ids"].astype("int64"), mask])[0]
        pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)

    embed(texts[:BATCH])
    started = time.perf_counter()
    order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
    embeddings = np.empty((len(texts), model.get_sentence_embedding_dimension()), dtype=np.float32)
    for first in range(0, len(order), BATCH):
        batch = order[first : first + BATCH]
        embeddings[batch] = embed([texts[index] for index in batch])
    seconds = time.perf_counter() - started
    report = {"seconds": seconds, "openvino": openvino.__version__, **agreement(embeddings, args.against)}
    Path(args.out).write_text(json.dumps(report), encoding="utf-8")


if __name__ == "__main__":
    main()
