"""What the right embeddings are: sentence-transformers' own for all-MiniLM-L6-v2, and what follows from them."""

import base64
import json
import pathlib
from typing import NamedTuple

import numpy

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The reference has seven decimals; sums of float32 in another order differ by less than this.
TOLERANCE = 1e-5


class Item(NamedTuple):
    """A text with what the tokenizer and `encode` make of it."""

    text: str
    ids: list
    embedding: numpy.ndarray


def reference():
    """Awkward texts: long, of many scripts, with special tokens written out; without the empty one, which the APIs refuse."""
    items = json.loads((ROOT / "tests/fixtures/reference/embeddings.json").read_text())["items"]
    return [Item(item["text"], item["input_ids"], numpy.array(item["embedding"], "f4")) for item in items
            if item["text"]]


ITEMS = reference()
TEXTS = [item.text for item in ITEMS]
IDS = [item.ids for item in ITEMS]
EMBEDDINGS = numpy.array([item.embedding for item in ITEMS])
HELLO = ITEMS[0]
LONG = max(ITEMS, key=lambda item: len(item.text))


def normalized(rows):
    """The same with length 1."""
    rows = numpy.asarray(rows, "f8")
    return rows / numpy.linalg.norm(rows, axis=-1, keepdims=True)


def cut(rows, dimensions):
    """What `dimensions` means: the first numbers, of length 1 again."""
    return normalized(numpy.asarray(rows)[..., :dimensions])


def check(actual, expected, tolerance=TOLERANCE):
    """That all numbers agree."""
    actual, expected = numpy.asarray(actual, "f8"), numpy.asarray(expected, "f8")
    assert actual.shape == expected.shape, f"{actual.shape} where {expected.shape} is expected"
    apart = numpy.abs(actual - expected).max()
    assert apart <= tolerance, f"{apart} apart"


def from_base64(text):
    """OpenAI's packed form: 32-bit floats, little-endian."""
    return numpy.frombuffer(base64.b64decode(text, validate=True), "<f4")
