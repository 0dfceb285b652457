"""Mixed requests, very many at once, against a server that trains meanwhile: each answer must be the one given alone.

    MATRYO_BINARY=target/release/matryo target/clients/bin/python tests/clients/mixed_load.py [--model FOLDER] …

Prints a summary as JSON; ends with 1 where an answer was another one, an error came that was not to be expected, memory
grew, or training did not go on. The same seed sends the same requests.
"""

import argparse
import asyncio
import json
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile

import aiohttp

from load_cases import ALIAS, Cases
from load_check import Alone, Comparison
from load_run import Load
from server import Server
from vectors import ROOT

# Between the second and the last fifth of the requests.
MOST_GROWTH = 0.05
MOST_GROWTH_BYTES = 16 << 20


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--requests", type=int, default=10_000, help="how many are sent")
    parser.add_argument("--cases", type=int, default=600, help="how many of them differ")
    parser.add_argument("--connections", type=int, default=64, help="how many are asked at once")
    parser.add_argument("--seed", type=int, default=1, help="makes the requests")
    parser.add_argument("--model", type=pathlib.Path, help="the base model's folder; a tiny one where left out")
    parser.add_argument("--out", type=pathlib.Path, help="a file for the summary")
    return parser.parse_args()


def pairs(seed, count):
    """Questions and passages to train on."""
    words = random.Random(seed)
    names = ["".join(words.choices("abcdefghij", k=6)) for _ in range(count)]
    return [(f"which one is {name} {number}", f"this is {name} of the number {number}") for number, name in enumerate(names)]


def prepare(server, folder, model):
    """Two base models, a job of two epochs, the alias, and a job that trains until it is cancelled.

    Returns the models' names and the second job's id.
    """
    for seed, name in ((1, "tiny"), (2, "other")):
        subprocess.run([sys.executable, ROOT / "tests/python/tiny_model.py", folder / name, str(seed)], check=True)
    server.add_model("base", model or folder / "tiny")
    server.add_model("other", folder / "other")
    training = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "learning_rate": 1e-4 if model else 1e-2}
    job = server.submit(server.add_dataset(pairs(1, 40)), "base", epochs=2, **training)
    server.wait_for_job(job, patience=600)
    checkpoints = [f"job:{job}@epoch-1", f"job:{job}@epoch-2"]
    server.call("PUT", f"/v1/aliases/{ALIAS}", {"model": checkpoints[0]})
    endless = server.submit(server.add_dataset(pairs(2, 4000)), "base", epochs=1000, **training)
    return ["base", "other", f"job:{job}", checkpoints[0]], checkpoints, endless


def progress(server, job):
    """The share of a running job's steps that are done."""
    answer = server.call("GET", f"/v1/jobs/{job}")
    assert answer["status"] in ("queued", "running"), answer
    return answer["progress"] or 0


async def measure(options, server, folder):
    models, checkpoints, endless = prepare(server, folder, options.model)
    # The dimension that all models have.
    dimension = 32
    cases = Cases(options.seed, models, dimension)
    timeout = aiohttp.ClientTimeout(total=120)
    connector = aiohttp.TCPConnector(limit=options.connections + 1)
    async with aiohttp.ClientSession(server.url, connector=connector, timeout=timeout) as session:
        alone = Alone(session, checkpoints)
        for text in cases.texts[:20]:
            _, tokens = await alone.ask("/tokenize", {"inputs": [text], "model": "other"})
            cases.ids[text] = [token["id"] for token in tokens[0]]
        drawn = cases.draw(options.cases)
        expected = await alone.learn(drawn)
        server.wait("the training", lambda: progress(server, endless) > 0, patience=600)
        before = progress(server, endless)
        chosen = random.Random(options.seed)
        plan = [chosen.randrange(len(drawn)) for _ in range(options.requests)]
        comparison = Comparison()
        load = Load(server, session, chosen, comparison, checkpoints)
        seconds = await load.run([(drawn[place], expected[place]) for place in plan], options.connections)
    trained = progress(server, endless) - before
    server.call("POST", f"/v1/jobs/{endless}/cancel")
    return summary(options, load, comparison, seconds, trained)


def milliseconds(seconds):
    """Median and tail."""
    cuts = statistics.quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else seconds * 99
    return {f"p{cut}": round(1000 * cuts[cut - 1], 2) for cut in (50, 95, 99)}


def summary(options, load, comparison, seconds, trained):
    fifth = len(load.memory) // 5
    second, last = (statistics.median(load.memory[begin:begin + fifth]) for begin in (fifth, 4 * fifth))
    unexpected = sum(count for status, count in load.statuses.items() if status == 0 or status >= 500)
    everything = [value for values in load.seconds.values() for value in values]
    faults = {
        "answers that are not the one given alone": len(load.mismatches),
        "broken connections and 5xx": unexpected,
        "memory grew": int(last - second > max(MOST_GROWTH * second, MOST_GROWTH_BYTES)),
        "training stood still": int(trained <= 0),
    }
    return {
        "requests": options.requests, "connections": options.connections, "seed": options.seed,
        "seconds": round(seconds, 2), "requests_per_second": round(options.requests / seconds, 1),
        "milliseconds": {"all": milliseconds(everything), **{kind: milliseconds(load.seconds[kind]) for kind in sorted(load.seconds)}},
        "statuses": {str(status): count for status, count in sorted(load.statuses.items())},
        "retried_after_429": load.retried, "left_early": load.left, "alias_moves": load.moves,
        "least_cosine": comparison.least_cosine, "largest_difference": comparison.largest_difference,
        "memory_mib": {"second_fifth": round(second / 2**20, 1), "last_fifth": round(last / 2**20, 1), "most": round(max(load.memory) / 2**20, 1)},
        "trained_share": trained, "faults": faults, "examples": load.mismatches[:5],
    }


def main():
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        server = Server(folder / "server", [folder, *([options.model.resolve().parent] if options.model else [])])
        try:
            result = asyncio.run(measure(options, server, folder))
        except BaseException:
            server.process.kill()
            raise
        server.stop()
    text = json.dumps(result, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")
    return 1 if any(result["faults"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
