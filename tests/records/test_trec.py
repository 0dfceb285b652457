"""trec_eval counts from our files what we count.

Definitions differ in two places, and both are comparable: `mrr@10` is recip_rank over the first ten documents, since
recip_rank itself looks at all; `map@100` is map_cut_100 where no question has more than a hundred answers. `accuracy@k` is
success_k.
"""

import json
import subprocess

import pytest
import pytrec_eval

from conftest import SAMPLES, TRAINING
from server import BINARY

MEASURES = {"ndcg_cut.10", "P.1,3,5,10", "recall.1,3,5,10", "success.1,3,5,10", "map_cut.100"}
NAMES = ({f"accuracy@{k}": f"success_{k}" for k in (1, 3, 5, 10)} | {f"precision@{k}": f"P_{k}" for k in (1, 3, 5, 10)}
         | {f"recall@{k}": f"recall_{k}" for k in (1, 3, 5, 10)}
         | {"ndcg@10": "ndcg_cut_10", "map@100": "map_cut_100"})


def parse(text, value, number):
    """Question → document → number, from the columns of a file."""
    table = {}
    for line in text.splitlines():
        columns = line.split()
        document = table.setdefault(columns[0], {})
        assert columns[2] not in document, line
        document[columns[2]] = number(columns[value])
    return table


def mean(qrels, run, measures):
    """Each measure's mean over the questions."""
    results = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)
    assert len(results) == len(qrels)
    names = next(iter(results.values()))
    return {name: sum(result[name] for result in results.values()) / len(results) for name in names}


def compare(qrels, run, values, dim):
    """Compares all fifteen metrics at one dimension."""
    qrels, run = parse(qrels, 3, int), parse(run, 4, float)
    assert all(len(documents) == 100 for documents in run.values())
    found = mean(qrels, run, MEASURES)
    first = {query: dict(sorted(documents.items(), key=lambda item: -item[1])[:10]) for query, documents in run.items()}
    found["mrr"] = mean(qrels, first, {"recip_rank"})["recip_rank"]
    names = NAMES | {"mrr@10": "mrr"}
    assert len(names) == 15
    for name, theirs in names.items():
        assert found[theirs] == pytest.approx(values[f"dim_{dim}_cosine_{name}"], abs=1e-6), (dim, name)


@pytest.mark.parametrize("dim", TRAINING["matryoshka_dims"])
@pytest.mark.parametrize("checkpoint", ["baseline", "epoch-1", "epoch-2", "epoch-3", "best"])
def test_trec_eval_counts_the_same(undisturbed, checkpoint, dim):
    metrics = undisturbed.metrics
    epoch = {"baseline": 0, "best": metrics["best_epoch"]}.get(checkpoint) if "-" not in checkpoint else int(checkpoint[6:])
    path = f"/v1/jobs/{undisturbed.id}/trec"
    qrels = undisturbed.server.fetch(f"{path}/qrels").decode()
    run = undisturbed.server.fetch(f"{path}/run?checkpoint={checkpoint}&dim={dim}").decode()
    compare(qrels, run, metrics["rows"][epoch]["values"], dim)


def test_passages_that_stand_twice_are_two_documents(undisturbed):
    run = parse((undisturbed.folder / "trec/epoch-0/dim-2.txt").read_text(), 4, float)
    scores = [sorted(documents.values(), reverse=True) for documents in run.values()]
    assert all(better > worse for row in scores for better, worse in zip(row, row[1:]))
    assert any("a%20copy%2019" in documents for documents in run.values())


@pytest.mark.parametrize("more", [[], ["--deduplicate-corpus"]])
def test_matryo_eval_writes_them_too(models, tmp_path, more):
    # Two rows have the same passage, which deduplicated is one document that answers both.
    lines = (SAMPLES / "eval.jsonl").read_text().splitlines()
    again = json.loads(lines[0]) | {"id": "again", "anchor": "the same question in other words"}
    (tmp_path / "eval.jsonl").write_text("\n".join([*lines, json.dumps(again)]))
    command = [BINARY, "eval", "--model", str(models / "tiny"), "--train", str(SAMPLES / "train.jsonl"), "--eval",
               str(tmp_path / "eval.jsonl"), "--dims", "32,4", "--trec", str(tmp_path / "trec"), "--json", *more]
    metrics = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["metrics"]
    for dim in (32, 4):
        run = (tmp_path / f"trec/dim-{dim}.txt").read_text()
        compare((tmp_path / "trec/qrels.txt").read_text(), run, metrics, dim)
