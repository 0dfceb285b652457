"""Makes tests/fixtures/reference/samples_{one_batch,steps}.json with sentence-transformers on the shipped sample data.

They hold for samples/annual-reports/train.jsonl what one_batch.json and eight_steps.json hold for data that is not part of
the repository, so that the proof runs anywhere.

Usage: reference_samples.py MODEL_DIR
"""

import json
import sys
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.losses import MatryoshkaLoss, MultipleNegativesRankingLoss
from transformers import get_scheduler

ROOT = Path(__file__).parents[2]
DIMS = [384, 256, 128, 64]
SCALE = 20.0
MICRO_BATCH, ACCUMULATION, STEPS = 16, 2, 4
TEXTS = ["Hello, world!", "How did the bank fund its mortgages?"]


def features(model, texts):
    return {key: value for key, value in model.tokenize(texts).items() if isinstance(value, torch.Tensor)}


def main():
    rows = [json.loads(line) for line in (ROOT / "samples/annual-reports/train.jsonl").open(encoding="utf-8")]
    model = SentenceTransformer(sys.argv[1], device="cpu")
    model.eval()  # no dropout
    named = {name.split("auto_model.")[-1].split("model.")[-1]: p for name, p in model.named_parameters()}
    named = {name: p for name, p in named.items() if not name.startswith("pooler.")}
    assert len(named) == 101, len(named)

    def columns(batch):
        return [features(model, [row[key] for row in batch]) for key in ("anchor", "positive")]

    def loss_of(batch, dims):
        ranking = MultipleNegativesRankingLoss(model, scale=SCALE)
        return MatryoshkaLoss(model, ranking, matryoshka_dims=dims)(columns(batch), None)

    # Every eleventh row, so that a batch holds all the companies.
    batch = rows[::11][: 2 * MICRO_BATCH - 8]
    per_dim = {dim: loss_of(batch, [dim]).item() for dim in DIMS}
    loss = loss_of(batch, DIMS)
    loss.backward()
    grads = {name: {"norm": p.grad.norm().item(), "head": p.grad.flatten()[:8].tolist()} for name, p in named.items()}
    write("samples_one_batch.json", {
        "ids": [row["id"] for row in batch], "dims": DIMS, "scale": SCALE, "loss": loss.item(),
        "loss_per_dim": per_dim, "grads": grads,
    })

    model.zero_grad()
    optimizer = torch.optim.AdamW(named.values(), lr=2e-5, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    scheduler = get_scheduler("cosine", optimizer, num_warmup_steps=1, num_training_steps=STEPS)
    count = MICRO_BATCH * ACCUMULATION * STEPS
    batches = [rows[start : start + MICRO_BATCH] for start in range(0, count, MICRO_BATCH)]
    log = []
    for step in range(STEPS):
        total = 0.0
        for batch in batches[step * ACCUMULATION : (step + 1) * ACCUMULATION]:
            loss = loss_of(batch, DIMS) / ACCUMULATION
            loss.backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(named.values(), 1.0).item()
        log.append({"step": step + 1, "lr": scheduler.get_last_lr()[0], "loss": total, "grad_norm": norm})
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    after = [{"text": text, "embedding": [round(x, 7) for x in model.encode(text).tolist()]} for text in TEXTS]
    ids = [[row["id"] for row in batch] for batch in batches]
    write("samples_steps.json", {"accumulation": ACCUMULATION, "batches": ids, "log": log, "after": after})


def write(name, value):
    (ROOT / "tests/fixtures/reference" / name).write_text(json.dumps(value, indent=0) + "\n", encoding="utf-8")


main()
