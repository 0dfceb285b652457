"""What both sides' figures say beside each other: metrics and how far apart, ratios of times, use of the GPU."""

import math
from statistics import median
from typing import Any

Result = dict[str, Any]

# ndcg@10 of 700 questions. Of the untrained model only rounding differs: ours is bf16, the peer's baseline float32 or
# TF32. Shuffling and dropout differ between the sides, so that epochs differ by what another seed would change: less at
# the end, where the rate is near 0, than on the way.
MOST_APART = {"untrained": 0.005, "on the way": 0.01, "last": 0.006}
QUESTIONS = 700


def tolerance(epoch: int, last: int, questions: int) -> float:
    """How far apart ndcg@10 may be. A mean over fewer questions is noisier, by the square root."""
    stage = "untrained" if epoch == 0 else "last" if epoch == last else "on the way"
    return MOST_APART[stage] * max(1.0, math.sqrt(QUESTIONS / max(questions, 1)))


def metrics(ours: list[Result], theirs: list[Result], questions: int) -> Result:
    """Each metric of each epoch on both sides. Only ndcg@10 decides: the others follow it, and are coarser."""
    rows = []
    other = {row["epoch"]: row["values"] for row in theirs}
    last = max(row["epoch"] for row in ours)
    for row in ours:
        for name, value in row["values"].items():
            peer = other.get(row["epoch"], {}).get(name)
            if peer is not None:
                rows.append({"epoch": row["epoch"], "metric": name, "matryo": value, "peer": peer,
                             "apart": abs(value - peer)})
    deciding = [row for row in rows if row["metric"].endswith("ndcg@10")]
    for row in deciding:
        row["tolerance"] = tolerance(row["epoch"], last, questions)
    # Numbers that are none compare as false, and must not pass.
    beyond = [row for row in deciding if not row["apart"] <= row["tolerance"]]
    epochs = {row["epoch"] for row in ours} - {row["epoch"] for row in deciding}
    return {
        "holds": bool(deciding) and not beyond and not epochs,
        "questions": questions,
        "largest": max(rows, key=lambda row: row["apart"], default=None),
        "largest_ndcg": max(deciding, key=lambda row: row["apart"], default=None),
        "beyond": beyond,
        "epochs_without_peer": sorted(epochs),
        "rows": rows,
    }


def ratios(ours: Result, peer: Result) -> Result:
    """The peer's seconds over ours, larger is better."""
    theirs = peer["timings"]
    evaluations = ours["timings"]["baseline"] + ours["timings"]["evaluate"]
    steps = peer["step_seconds"]
    return {
        # Whole processes: imports, loading, and what our first kernels wait for are counted.
        "whole_job": ratio(peer["seconds"], ours["seconds"]),
        # Without the peer's imports and loading; ours reads, loads and opens the GPU in it.
        "job_without_start": ratio(theirs["baseline"] + theirs["train"], ours["wall_seconds"]),
        # Ours is the whole of the epochs without evaluations; the peer's is its steps alone.
        "training_steps": ratio(sum(steps), ours["step_seconds"]),
        # The peer's first steps choose algorithms and take memory.
        "training_steps_by_median": ratio(median(steps) * len(steps), ours["step_seconds"]),
        "evaluations": ratio(theirs["baseline"] + theirs["evaluations"], evaluations),
    }


def ratio(theirs: float, ours: float) -> float | None:
    """Nothing where ours took no time."""
    return theirs / ours if ours > 0 else None


def utilisation(job: Result, measured: float | None, datasheet: float | None) -> Result:
    """Which share of the GPU's bf16 products the training steps use, counting real tokens' products alone."""
    tflops = job["step_gflops"] / 1e3
    return {
        "step_tflops": tflops,
        "measured_peak_tflops": measured,
        "of_measured_peak": tflops / measured if measured else None,
        "datasheet_peak_tflops": datasheet,
        "of_datasheet_peak": tflops / datasheet if datasheet else None,
    }


def repeats(first: Result, second: Result) -> bool:
    """Whether two runs of a job came to the same, bit for bit, as far as their reports tell."""
    return all(first[key] == second[key] for key in ("losses", "evaluations"))
