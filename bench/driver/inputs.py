"""What is measured on: the pairs, subsets of them, and the sizes of a full and of a quick run."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import BenchmarkError

Row = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How much each section does. None is for all rows."""

    batch: int
    accumulation: int
    step_rows: int
    evaluation_rows: int | None
    evaluation_questions: int | None
    passages: int
    job_rows: int | None
    job_questions: int | None
    growth_rows: int | None
    large_rows: int
    large_batch: int
    large_accumulation: int
    rounds: dict[str, int]


# The recipe's arguments on all data; rounds are chosen for a run of 45 minutes on 2 cores.
FULL = Sizes(
    batch=32, accumulation=16, step_rows=1536, evaluation_rows=None, evaluation_questions=None, passages=2048,
    job_rows=None, job_questions=None, growth_rows=None, large_rows=128, large_batch=32, large_accumulation=2,
    rounds={"step": 2, "evaluation": 1, "encode": 2, "job": 1, "large": 1},
)
# Enough that every part of the command runs; its figures mean nothing.
QUICK = Sizes(
    batch=16, accumulation=2, step_rows=64, evaluation_rows=96, evaluation_questions=16, passages=96,
    job_rows=64, job_questions=8, growth_rows=128, large_rows=8, large_batch=4, large_accumulation=1,
    rounds={"step": 1, "evaluation": 1, "encode": 1, "job": 1, "large": 1},
)


class Pairs:
    """The two files of pairs, as the recipe makes them: `id`, `anchor`, `positive`."""

    def __init__(self, train: Path, test: Path, scratch: Path) -> None:
        self.train = read_rows(train)
        self.test = read_rows(test)
        self.scratch = scratch

    def files(self, train: list[Row], test: list[Row]) -> tuple[Path, Path]:
        """Writes rows to train on and rows to evaluate on."""
        return self.write("train.jsonl", train), self.write("test.jsonl", test)

    def first(self, rows: int | None, questions: int | None) -> tuple[Path, Path]:
        """Files with the first rows of each."""
        return self.files(self.train[:rows], self.test[:questions])

    def tiny_test(self) -> list[Row]:
        """The least that `matryo train` evaluates on, where evaluation is not what is measured."""
        return self.test[:2]

    def distinct(self, rows: int, multiple_of: int) -> list[Row]:
        """The first rows whose texts occur once, in whole optimizer steps: every batch is full on both sides."""
        seen: set[str] = set()
        chosen: list[Row] = []
        for row in self.train:
            texts = {row["anchor"], row["positive"]}
            if not texts & seen:
                seen |= texts
                chosen.append(row)
        count = min(rows, len(chosen)) // multiple_of * multiple_of
        if count == 0:
            raise BenchmarkError(
                f"a step takes {multiple_of} pairs of distinct texts and the data has {len(chosen)}; give more data"
                " with --train, or --quick"
            )
        return chosen[:count]

    def passages(self, count: int) -> Path:
        """A file of passages, a JSON object `{"text": …}` a line."""
        return self.write("texts.jsonl", [{"text": row["positive"]} for row in self.train[:count]])

    def write(self, name: str, rows: list[Row]) -> Path:
        """Writes JSON Lines."""
        path = self.scratch / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path


def read_rows(path: Path) -> list[Row]:
    """Reads JSON Lines of pairs."""
    if not path.is_file():
        raise BenchmarkError(
            f"{path} is absent; name files of pairs with --train and --test (JSON Lines with id, anchor, positive)"
        )
    rows = []
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise BenchmarkError(f"{path}:{number}: not JSON: {error}") from error
            if not isinstance(row, dict) or not {"anchor", "positive"} <= row.keys():
                raise BenchmarkError(f"{path}:{number}: expected an object with anchor and positive")
            rows.append({"id": f"{path.stem}-{number}", **row})
    return rows
