"""Runs the recipe with sentence-transformers, as the peer whose numbers Matryo is held against.

Usage: peer_job.py MODEL_DIR TRAIN.jsonl TEST.jsonl OUT.json [--epochs N] [--bf16]
Prints and writes, per epoch and dimension, what the InformationRetrievalEvaluator counted: queries are the test
anchors, the corpus is every positive of both files, one relevant id each.
"""

import argparse
import json
import time

import datasets
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.evaluation import InformationRetrievalEvaluator, SequentialEvaluator
from sentence_transformers.losses import MatryoshkaLoss, MultipleNegativesRankingLoss
from sentence_transformers.training_args import BatchSamplers

# Hashing rows for a cache fails with pyarrow 23 and later, and nothing is cached here.
datasets.arrow_dataset.generate_fingerprint = lambda *_: "uncached"


def rows(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("out")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--dims", default="384,256,128,64")
    args = parser.parse_args()

    dims = [int(dim) for dim in args.dims.split(",")]
    train, test = rows(args.train), rows(args.test)
    model = SentenceTransformer(args.model, device="cpu")
    corpus = {str(row["id"]): row["positive"] for row in train + test}
    queries = {str(row["id"]): row["anchor"] for row in test}
    relevant = {key: [key] for key in queries}
    evaluator = SequentialEvaluator(
        [
            InformationRetrievalEvaluator(queries, corpus, relevant, name=f"dim_{dim}", truncate_dim=dim,
                                          score_functions=None)
            for dim in dims
        ],
        main_score_function=lambda scores: scores[0],
    )
    report = {"dims": dims, "epochs": args.epochs, "bf16": args.bf16, "baseline": evaluator(model)}
    print(json.dumps(report["baseline"]), flush=True)
    started = time.time()
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=args.out + ".trainer",
            num_train_epochs=args.epochs,
            per_device_train_batch_size=32,
            gradient_accumulation_steps=16,
            warmup_ratio=0.1,
            learning_rate=2e-5,
            lr_scheduler_type="cosine",
            optim="adamw_torch_fused",
            bf16=args.bf16,
            batch_sampler=BatchSamplers.NO_DUPLICATES,
            eval_strategy="no",
            save_strategy="no",
            logging_steps=1,
            report_to="none",
            seed=42,
        ),
        train_dataset=Dataset.from_list([{"anchor": r["anchor"], "positive": r["positive"]} for r in train]),
        loss=MatryoshkaLoss(model, MultipleNegativesRankingLoss(model), matryoshka_dims=dims),
    )
    trainer.train()
    report["train_seconds"] = time.time() - started
    report["log"] = trainer.state.log_history
    report["final"] = evaluator(model)
    with open(args.out, "w", encoding="utf-8") as out:
        json.dump(report, out, indent=1)
    print(json.dumps(report["final"]))


if __name__ == "__main__":
    main()
