"""Loads two model folders with sentence-transformers and checks that they are the same model.

Usage: same_vectors.py BASE SAVED [--max-seq-length N]
Token ids and vectors of the reference texts (tests/fixtures/reference/embeddings.json) must be equal, as a folder that
is saved untrained must give. `--max-seq-length` cuts BASE's texts too, where SAVED was written with another limit.
"""

import argparse
import json
import warnings
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer


def ids(model, text):
    return model.tokenizer(text, truncation=True)["input_ids"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("base")
    parser.add_argument("saved")
    parser.add_argument("--max-seq-length", type=int)
    args = parser.parse_args()

    reference = Path(__file__).parents[1] / "fixtures/reference/embeddings.json"
    texts = [item["text"] for item in json.loads(reference.read_text(encoding="utf-8"))["items"]]
    texts += ["CAPITALS and Ünïcödé", "x" * 300, "one two three " * 400]
    base = SentenceTransformer(args.base, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        saved = SentenceTransformer(args.saved, device="cpu")
    if args.max_seq_length:
        base.max_seq_length = args.max_seq_length
    assert saved.max_seq_length == base.max_seq_length, (saved.max_seq_length, base.max_seq_length)
    assert [type(module).__name__ for module in saved] == [type(module).__name__ for module in base]
    assert saved.prompts == base.prompts, (saved.prompts, base.prompts)
    for text in texts:
        assert ids(saved, text) == ids(base, text), text
    ours, theirs = saved.encode(texts), base.encode(texts)
    assert np.array_equal(ours, theirs), np.abs(ours - theirs).max()
    missing = set(base.state_dict()) ^ set(saved.state_dict())
    assert not missing, missing
    for name, tensor in base.state_dict().items():
        assert (tensor.float() == saved.state_dict()[name].float()).all(), name
    print(f"{len(texts)} texts: token ids and {ours.shape[1]}-d vectors are equal, {len(base.state_dict())} tensors too")


if __name__ == "__main__":
    main()
