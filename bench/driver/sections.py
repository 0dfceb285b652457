"""The sections: each measures one thing on both sides, round by round, both sides in each round."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from inputs import Pairs, Sizes
from matryo import Matryo, Measurement
from peers import Peers
from processes import BenchmarkError, progress

DIMS = [384, 256, 128, 64]
LARGE_DIMS = [768, 512, 256, 128, 64]
# Further apart, the two sides do not compute the same, and their times say nothing. bf16 rounds within these.
MOST_NDCG_APART = 0.01
LEAST_COSINE = 0.98

Section = dict[str, Any]


@dataclass
class Context:
    """What every section needs."""

    matryo: Matryo
    peers: Peers
    pairs: Pairs
    sizes: Sizes
    model: Path
    # float32, and bf16 after it where the CPU has that.
    precisions: list[str]
    openvino: bool
    quick: bool
    rounds: int | None

    def best_peer_precision(self) -> str:
        """What the recipe trains in: `bf16=True` where the CPU has it."""
        return self.precisions[-1]

    def ours(self, command: str) -> dict[str, str | None]:
        """Our variants of a command: name → value of --precision."""
        return self.matryo.variants(command, self.precisions)

    def interleave(self, section: str, variants: dict[str, Callable[[], Measurement]]) -> list[dict[str, Measurement]]:
        """Runs all variants one after another, as often as the section has rounds, and prints a row for each."""
        rounds = self.rounds or self.sizes.rounds[section]
        measured = []
        for number in range(1, rounds + 1):
            row: dict[str, Measurement] = {}
            for name, run in variants.items():
                progress(f"{section}, round {number} of {rounds}: {name}")
                row[name] = run()
                print_row(section, number, name, row[name])
            measured.append(row)
        return measured


def print_row(section: str, number: int, name: str, measurement: Measurement) -> None:
    """A line of the table on stdout."""
    rate = f"{measurement['rate']:9.1f} {measurement['unit']}" if "rate" in measurement else ""
    memory = measurement["peak_memory_bytes"] / 1e6
    print(f"{section:<11} {number:>2}  {name:<20} {measurement['seconds']:9.2f} s {memory:8.0f} MB {rate}", flush=True)


def with_rate(measurement: Measurement, count: int, unit: str) -> Measurement:
    """Adds how many of something a second that is."""
    return measurement | {"rate": count / measurement["seconds"], "unit": unit}


def peak(context: Context) -> Section:
    """The machine's peak, by PyTorch's own products."""
    progress("peak: matrix products of PyTorch")
    found = context.peers.peak(context.quick)
    print(f"{'peak':<11}     " + ", ".join(f"{name} {value:.0f} GFLOP/s" for name, value in found.items()), flush=True)
    return {"gflops": found}


def step(context: Context) -> Section:
    """An optimizer step at the recipe's arguments."""
    sizes = context.sizes
    pairs = sizes.batch * sizes.accumulation
    rows = context.pairs.distinct(sizes.step_rows, pairs)
    train, test = context.pairs.files(rows, context.pairs.tiny_test())
    variants = training_variants(context, context.model, train, test, DIMS, sizes.batch, sizes.accumulation,
                                 context.ours("train"), context.precisions)
    return {"rows": len(rows), "pairs_per_step": pairs, "rounds": context.interleave("step", variants)}


def large(context: Context) -> Section:
    """The same with a model of bge-base's size, its weights random, in each side's best precision."""
    sizes = context.sizes
    progress("large: making a model of bge-base's size")
    model = context.peers.base_size_model(context.model)
    pairs = sizes.large_batch * sizes.large_accumulation
    rows = context.pairs.distinct(sizes.large_rows, pairs)
    train, test = context.pairs.files(rows, context.pairs.tiny_test())
    variants = training_variants(context, model, train, test, LARGE_DIMS, sizes.large_batch, sizes.large_accumulation,
                                 {"auto": context.matryo.automatic("train")}, [context.best_peer_precision()])
    return {"rows": len(rows), "pairs_per_step": pairs, "rounds": context.interleave("large", variants)}


def training_variants(
    context: Context, model: Path, train: Path, test: Path, dims: list[int], batch: int, accumulation: int,
    ours: dict[str, str | None], peers: list[str],
) -> dict[str, Callable[[], Measurement]]:
    """Training of whole steps on both sides; `seconds` is of one step."""
    pairs = batch * accumulation

    def our_step(precision: str | None) -> Measurement:
        ran = context.matryo.train(model, train, test, precision, dims, batch, accumulation)
        return with_rate(ran | {"process_seconds": ran["seconds"], "seconds": ran["train_seconds"] / ran["steps"]},
                         pairs, "pairs/s")

    def peer_step(precision: str) -> Measurement:
        ran = context.peers.sentence_transformers(
            "train", model, train, "--test", test, "--precision", precision, "--batch", batch,
            "--accumulation", accumulation, "--dims", ",".join(map(str, dims)))
        return with_rate(ran | {"seconds": mean(ran["step_seconds"])}, pairs, "pairs/s")

    variants: dict[str, Callable[[], Measurement]] = {}
    for label, precision in ours.items():
        variants[f"ours-{label}"] = lambda precision=precision: our_step(precision)
    for precision in peers:
        variants[f"peer-{precision}"] = lambda precision=precision: peer_step(precision)
    return variants


def evaluation(context: Context) -> Section:
    """Retrieval metrics at 4 dimensions over the whole corpus."""
    train, test = context.pairs.first(context.sizes.evaluation_rows, context.sizes.evaluation_questions)
    variants: dict[str, Callable[[], Measurement]] = {}
    for label, precision in context.ours("eval").items():
        variants[f"ours-{label}"] = lambda precision=precision: context.matryo.evaluate(
            context.model, train, test, precision, DIMS)
    precision = context.best_peer_precision()
    variants[f"peer-{precision}"] = lambda: context.peers.sentence_transformers(
        "evaluate", context.model, train, "--test", test, "--precision", precision)
    rounds = context.interleave("evaluation", variants)
    theirs = rounds[-1][f"peer-{precision}"]["ndcg"]
    apart = max(abs(ran["ndcg"][name] - value) for ran in rounds[-1].values() for name, value in theirs.items())
    if not context.quick and apart > MOST_NDCG_APART:
        raise BenchmarkError(f"the variants do not measure the same: their ndcg@10 are up to {apart:.4f} apart")
    return {"ndcg_apart": apart, "rounds": rounds}


def encode(context: Context) -> Section:
    """The corpus's passages to embeddings."""
    texts = context.pairs.passages(context.sizes.passages)
    count = texts.read_text(encoding="utf-8").count("\n")
    scratch = context.pairs.scratch
    variants: dict[str, Callable[[], Measurement]] = {}
    ours = context.ours("embed")
    for label, precision in ours.items():
        variants[f"ours-{label}"] = lambda label=label, precision=precision: with_rate(
            context.matryo.embed(context.model, texts, scratch / f"ours-{label}.jsonl", precision), count, "passages/s")
    # Our first variant went before in each round.
    against = ("--against", scratch / f"ours-{next(iter(ours))}.jsonl")
    for precision in context.precisions:
        variants[f"peer-{precision}"] = lambda precision=precision: with_rate(context.peers.sentence_transformers(
            "encode", context.model, texts, "--precision", precision, *against), count, "passages/s")
    if context.openvino and "bf16" in context.precisions:
        variants["openvino-bf16"] = lambda: with_rate(context.peers.openvino(
            context.model, texts, "--precision", "bf16", *against), count, "passages/s")
    rounds = context.interleave("encode", variants)
    cosine = min(measurement.get("least_cosine", 1.0) for row in rounds for measurement in row.values())
    if cosine < LEAST_COSINE:
        raise BenchmarkError(f"the sides do not compute the same: the least cosine of their embeddings is {cosine:.4f}")
    return {"passages": count, "least_cosine": cosine, "rounds": rounds}


def job(context: Context) -> Section:
    """The whole job: baseline, one epoch, evaluation, checkpoint; whole processes, imports and loading counted."""
    sizes = context.sizes
    train, test = context.pairs.first(sizes.job_rows, sizes.job_questions)
    precision, auto = context.best_peer_precision(), context.matryo.automatic("train")

    def peer() -> Measurement:
        ran = context.peers.sentence_transformers(
            "train", context.model, train, "--test", test, "--precision", precision, "--batch", sizes.batch,
            "--accumulation", sizes.accumulation, "--whole-job")
        return ran | {"seconds": ran["process_seconds"]}

    variants = {
        "ours-auto": lambda: context.matryo.train(
            context.model, train, test, auto, DIMS, sizes.batch, sizes.accumulation),
        f"peer-{precision}": peer,
    }
    return {"rounds": context.interleave("job", variants)}


def growth(context: Context) -> Section:
    """Ours at 1, 2, 4 and 8 times the data: seconds of training, and memory."""
    sizes = context.sizes
    rows, auto = context.pairs.train[: sizes.growth_rows], context.matryo.automatic("train")
    measured = []
    for share in (8, 4, 2, 1):
        part = rows[: -(-len(rows) // share)]
        train, test = context.pairs.files(part, context.pairs.tiny_test())
        progress(f"growth: {len(part)} pairs")
        ran = context.matryo.train(context.model, train, test, auto, DIMS, sizes.batch, sizes.accumulation)
        ran |= {"process_seconds": ran["seconds"], "seconds": ran["train_seconds"], "pairs": len(part)}
        print_row("growth", 8 // share, f"ours-auto {len(part)}", with_rate(ran, len(part), "pairs/s"))
        measured.append(ran)
    first, last = measured[0], measured[-1]
    return {
        "pairs_ratio": last["pairs"] / first["pairs"],
        "seconds_ratio": last["seconds"] / first["seconds"],
        "peak_memory_ratio": last["peak_memory_bytes"] / first["peak_memory_bytes"],
        "measured": measured,
    }


# In the order of a full run.
SECTIONS: dict[str, Callable[[Context], Section]] = {
    "peak": peak, "step": step, "evaluation": evaluation, "encode": encode, "job": job, "growth": growth,
    "large": large,
}


def load_average() -> float:
    """Processes that want the CPU, over the last minute."""
    return os.getloadavg()[0]
