"""Whether all servers answer the same: cosines of their embeddings of the same passages."""

import json
import math
from collections.abc import Iterable

from processes import BenchmarkError

# Further apart, two servers do not compute the same, and their figures say nothing. bf16 rounds within this.
LEAST_COSINE = 0.999


class Agreement:
    """The first server's embeddings, by the passage's number, and how near the others come."""

    def __init__(self) -> None:
        self.first: dict[int, list[float]] = {}

    def check(self, variant: str, bodies: dict[int, bytes], passages: list[list[int]]) -> float:
        """The least cosine of a server's answers with the first server's; `passages[n]` is what request n asked for.

        Raises BenchmarkError where they are further apart than rounding explains.
        """
        least = 1.0
        for request, body in bodies.items():
            embeddings, asked = json.loads(body), passages[request]
            if len(embeddings) != len(asked):
                raise BenchmarkError(f"{variant} answered {len(embeddings)} embeddings for {len(asked)} texts")
            for passage, embedding in zip(asked, embeddings, strict=True):
                least = min(least, cosine(self.first.setdefault(passage, embedding), embedding))
        if least < LEAST_COSINE:
            raise BenchmarkError(f"{variant} does not compute the same as the first server: a cosine is {least:.5f}")
        return least


def cosine(left: list[float], right: list[float]) -> float:
    """The cosine of two embeddings."""
    return dot(left, right) / math.sqrt(dot(left, left) * dot(right, right))


def dot(left: Iterable[float], right: Iterable[float]) -> float:
    """The sum of products."""
    return math.fsum(a * b for a, b in zip(left, right, strict=True))
