"""The peer's side of the benchmarks: sentence-transformers on PyTorch, as the recipe runs it; on the CPU for
bench/driver, on a GPU (`train` alone) for scripts/gpu-check.

Each command is one process that those start, does one thing, times it, and writes what it found as JSON:

    peer.py train MODEL TRAIN.jsonl --test TEST.jsonl --precision bf16 --out OUT.json [--whole-job] [--epochs 4]
                  [--device cuda --attention sdpa]
    peer.py evaluate MODEL TRAIN.jsonl --test TEST.jsonl --precision float32 --out OUT.json
    peer.py encode MODEL TEXTS.jsonl --precision bf16 --out OUT.json [--against EMBEDDINGS.jsonl]

Imports and loading of the model are not timed, and a small warm-up goes before each timing.
"""

import argparse
import contextlib
import json
import time
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.evaluation import InformationRetrievalEvaluator, SequentialEvaluator
from sentence_transformers.losses import MatryoshkaLoss, MultipleNegativesRankingLoss
from sentence_transformers.training_args import BatchSamplers
from sentence_transformers.util import batch_to_device
from transformers import TrainerCallback

# Hashing rows for a cache fails with pyarrow 23 and later, and nothing is cached here.
datasets.arrow_dataset.generate_fingerprint = lambda *_: "uncached"

Row = dict[str, Any]


def read_lines(path: str) -> list[Any]:
    """The values of a JSON Lines file."""
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def autocast(precision: str, device: str = "cpu") -> contextlib.AbstractContextManager:
    """What the Hugging Face trainer puts round its steps where `bf16=True`."""
    return torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16")


def retrieval_evaluator(train: list[Row], test: list[Row], dims: list[int]) -> SequentialEvaluator:
    """The recipe's evaluator: the test questions against every passage, once per dimension."""
    corpus = {str(row["id"]): row["positive"] for row in train + test}
    queries = {str(row["id"]): row["anchor"] for row in test}
    relevant = {key: {key} for key in queries}
    return SequentialEvaluator(
        [
            InformationRetrievalEvaluator(queries, corpus, relevant, name=f"dim_{dim}", truncate_dim=dim)
            for dim in dims
        ],
        main_score_function=lambda scores: scores[0],
    )


def ndcg_by_dim(metrics: dict[str, float], dims: list[int], prefix: str = "") -> dict[str, float]:
    """ndcg@10 at each dimension, under the name that both sides use."""
    return {name: float(metrics[prefix + name]) for name in (f"dim_{dim}_cosine_ndcg@10" for dim in dims)}


class StepTimes(TrainerCallback):
    """Seconds of each optimizer step: forward, backward, clipping, AdamW. Sampling and tokenising lie outside."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.seconds: list[float] = []
        self.started = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.started = self._now()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(self._now() - self.started)

    def _now(self) -> float:
        # A GPU computes after it was asked; waiting twice a step costs nothing beside a step.
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def load(args: argparse.Namespace) -> SentenceTransformer:
    """The model on its device, with the attention that is asked for."""
    kwargs = {"attn_implementation": args.attention} if args.attention else {}
    return SentenceTransformer(args.model, device=args.device, model_kwargs=kwargs or None)


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Epochs at the recipe's arguments; with --whole-job also evaluation before and after each, and saving."""
    rows, test = read_lines(args.data), read_lines(args.test)
    if args.device == "cuda":
        # As the recipe's `tf32=True`: what is not under autocast, such as the baseline's evaluation, is faster with it.
        torch.set_float32_matmul_precision("high")
    model = load(args)
    evaluator = retrieval_evaluator(rows, test, args.dims) if args.whole_job else None
    timings: dict[str, float] = {}
    report: dict[str, Any] = {"timings": timings}
    if evaluator:
        started = time.perf_counter()
        # Flash attention takes no float32.
        with autocast(args.precision if args.attention == "flash_attention_2" else "float32", args.device):
            baseline = evaluator(model)
        report["baseline"] = ndcg_by_dim(baseline, args.dims)
        report["evaluations"] = [{"epoch": 0, "values": retrieval_metrics(baseline)}]
        timings["baseline"] = time.perf_counter() - started
    steps = StepTimes(args.device)
    when = "epoch" if evaluator else "no"
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=args.out + ".trainer",
            num_train_epochs=args.epochs,
            per_device_train_batch_size=args.batch,
            gradient_accumulation_steps=args.accumulation,
            warmup_ratio=0.1,
            learning_rate=2e-5,
            lr_scheduler_type="cosine",
            optim="adamw_torch_fused",
            use_cpu=args.device == "cpu",
            bf16=args.precision == "bf16",
            batch_sampler=BatchSamplers.NO_DUPLICATES,
            eval_strategy=when,
            save_strategy=when,
            save_total_limit=3,
            logging_steps=10,
            load_best_model_at_end=bool(evaluator),
            metric_for_best_model="eval_dim_128_cosine_ndcg@10" if evaluator else None,
            report_to="none",
            disable_tqdm=True,
            seed=42,
        ),
        train_dataset=datasets.Dataset.from_list([{key: row[key] for key in ("anchor", "positive")} for row in rows]),
        loss=MatryoshkaLoss(model, MultipleNegativesRankingLoss(model), matryoshka_dims=args.dims),
        evaluator=evaluator,
        callbacks=[steps],
    )
    if not args.whole_job:
        warm_up(model, trainer.loss, rows[: args.batch], args)
    started = time.perf_counter()
    trainer.train()
    timings["train"] = time.perf_counter() - started
    report["step_seconds"] = steps.seconds
    report["losses"] = [entry["train_loss"] for entry in trainer.state.log_history if "train_loss" in entry]
    if evaluator:
        evaluated = [entry for entry in trainer.state.log_history if "eval_dim_128_cosine_ndcg@10" in entry]
        report["final"] = ndcg_by_dim(evaluated[-1], args.dims, "eval_")
        report["evaluations"] += [
            {"epoch": round(entry["epoch"]), "values": retrieval_metrics(entry, "eval_")} for entry in evaluated
        ]
        timings["evaluate"] = evaluated[-1]["eval_runtime"]
        timings["evaluations"] = sum(entry["eval_runtime"] for entry in evaluated)
    if args.device == "cuda":
        report["peak_gpu_memory_bytes"] = torch.cuda.max_memory_reserved()
    return report


def retrieval_metrics(metrics: dict[str, float], prefix: str = "") -> dict[str, float]:
    """Every metric of every dimension, under the name that both sides use."""
    begin = prefix + "dim_"
    return {name.removeprefix(prefix): float(value) for name, value in metrics.items() if name.startswith(begin)}


def warm_up(model: SentenceTransformer, loss: torch.nn.Module, rows: list[Row], args: argparse.Namespace) -> None:
    """One batch forward and back before the first step is timed; the weights stay as they are."""
    columns = [batch_to_device(model.preprocess([row[key] for row in rows]), torch.device(args.device))
               for key in ("anchor", "positive")]
    with autocast(args.precision, args.device):
        loss(columns, None).backward()
    model.zero_grad()


def evaluate(args: argparse.Namespace) -> dict[str, Any]:
    """The recipe's evaluation at all dimensions."""
    evaluator = retrieval_evaluator(read_lines(args.data), read_lines(args.test), args.dims)
    model = SentenceTransformer(args.model, device="cpu")
    with autocast(args.precision):
        model.encode(["a short text to warm up with"] * 32, batch_size=32)
        started = time.perf_counter()
        metrics = evaluator(model)
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "ndcg": ndcg_by_dim(metrics, args.dims)}


def encode(args: argparse.Namespace) -> dict[str, Any]:
    """encode() with batches of 32, which it sorts by length itself."""
    texts = [line["text"] for line in read_lines(args.data)]
    model = SentenceTransformer(args.model, device="cpu")
    with autocast(args.precision):
        model.encode(texts[:32], batch_size=32)
        started = time.perf_counter()
        embeddings = model.encode(texts, batch_size=32)
        seconds = time.perf_counter() - started
    return {"seconds": seconds, **agreement(embeddings, args.against)}


def agreement(embeddings: np.ndarray, against: str | None) -> dict[str, float]:
    """The least cosine between two encoders' embeddings of the same text, where there are others to compare with."""
    if against is None:
        return {}
    others = np.array([line["embedding"] for line in read_lines(against)])
    embeddings = np.asarray(embeddings, dtype=np.float64)
    products = (embeddings * others).sum(1)
    norms = np.linalg.norm(embeddings, axis=1) * np.linalg.norm(others, axis=1)
    return {"least_cosine": float((products / norms).min())}


def main() -> None:
    """Runs one command."""
    commands = {"train": train, "evaluate": evaluate, "encode": encode}
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=commands)
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--test")
    parser.add_argument("--out", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--precision", choices=["float32", "bf16"], default="float32")
    parser.add_argument("--dims", type=lambda text: [int(dim) for dim in text.split(",")], default=[384, 256, 128, 64])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--accumulation", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--attention", choices=["eager", "sdpa", "flash_attention_2"])
    parser.add_argument("--whole-job", action="store_true")
    parser.add_argument("--against")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    Path(args.out).write_text(json.dumps(commands[args.command](args)), encoding="utf-8")


if __name__ == "__main__":
    main()
