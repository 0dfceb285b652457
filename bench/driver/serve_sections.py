"""The sections of bench/serve: each measures one thing of a running server."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agreement import Agreement
from interference import interference
from load import Load, closed_loop, percentile, prepare
from servers import Server
from variants import Variant

# The same short text that peers were measured with before.
SHORT = "What area did the company initially focus on before expanding?"
BATCH = 32
CONNECTIONS = [1, 8, 64]
# Answers of single passages that are compared with the first server's.
SINGLES_KEPT = 64

Figures = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How long each load lasts."""

    passages: int
    # A load goes over all its requests, as often as it takes to last so long.
    least_seconds: float
    latency_requests: int
    warm_seconds: float
    # Of the training job, and of each of the loads beside it and without it.
    pairs: int
    interference_seconds: float
    rounds: int


FULL = Sizes(passages=1024, least_seconds=10, latency_requests=300, warm_seconds=3, pairs=2000,
             interference_seconds=30, rounds=2)
QUICK = Sizes(passages=128, least_seconds=1, latency_requests=100, warm_seconds=0.5, pairs=2000,
              interference_seconds=8, rounds=1)


@dataclass
class Context:
    """What every section needs."""

    rows: list[dict[str, Any]]
    sizes: Sizes
    agreement: Agreement
    # Of the peers' server: `on`, `off`, or `both`.
    batching: str

    @property
    def passages(self) -> list[str]:
        return [row["positive"] for row in self.rows[: self.sizes.passages]]

    def routes(self, variant: Variant, connections: int) -> dict[str, str]:
        """What to measure a server at: the label of its way of batching → path."""
        on, off = {"batched": "/embed"}, {"unbatched": "/embed/unbatched"}
        if variant.ours:
            return on
        if self.batching == "both":
            # One request at a time is the same with and without.
            return on if connections == 1 else on | off
        return off if self.batching == "off" else on


def measured(server: Server, run: Callable[[], Load], texts_per_request: int = 1) -> tuple[Load, Figures]:
    """A load and its figures, with the cores that the server took."""
    before = server.cpu_seconds()
    load = run()
    after = server.cpu_seconds()
    figures: Figures = load.figures(texts_per_request)
    if before is not None and after is not None:
        figures["server_cpu"] = (after - before) / load.seconds
    return load, figures


def warm_up(server: Server, context: Context) -> None:
    """Batches and singles of many shapes, at several connections, before anything is timed."""
    passages = context.passages
    batches = [prepare("/embed", passages[first : first + BATCH]) for first in range(0, 4 * BATCH, BATCH)]
    closed_loop(server.port, batches, 1, context.sizes.warm_seconds)
    closed_loop(server.port, [prepare("/embed", text) for text in passages[:64]], 8, context.sizes.warm_seconds)


def batches(server: Server, variant: Variant, context: Context) -> Figures:
    """Requests of 32 passages over one connection, in the file's order and sorted by length."""
    passages = context.passages
    orders = {
        "file": list(range(len(passages))),
        # Without padding: the best case of a server that computes a request as one batch.
        "sorted": sorted(range(len(passages)), key=lambda number: -len(passages[number])),
    }
    found = {}
    for name, order in orders.items():
        asked = [order[first : first + BATCH] for first in range(0, len(order), BATCH)]
        requests = [prepare("/embed", [passages[number] for number in numbers]) for numbers in asked]
        load, figures = measured(server, lambda requests=requests: closed_loop(
            server.port, requests, 1, context.sizes.least_seconds, keep=len(requests)), BATCH)
        figures["least_cosine"] = context.agreement.check(variant.name, load.bodies, asked)
        found[name] = {"batched": figures}
    return found


def singles(server: Server, variant: Variant, context: Context) -> Figures:
    """One passage a request, at several numbers of connections."""
    passages = context.passages
    asked = [[number] for number in range(len(passages))]
    found: Figures = {}
    for connections in CONNECTIONS:
        found[str(connections)] = {}
        for label, path in context.routes(variant, connections).items():
            requests = [prepare(path, text) for text in passages]
            load, figures = measured(server, lambda requests=requests, connections=connections: closed_loop(
                server.port, requests, connections, context.sizes.least_seconds, keep=SINGLES_KEPT))
            figures["least_cosine"] = context.agreement.check(variant.name, load.bodies, asked)
            found[str(connections)][label] = figures
    return found


def latency(server: Server, variant: Variant, context: Context) -> Figures:
    """One short text after another over one connection; of the peers also without HTTP."""
    count = context.sizes.latency_requests
    request = prepare("/embed", SHORT)
    closed_loop(server.port, [request] * 20, 1, 0)
    _, figures = measured(server, lambda: closed_loop(server.port, [request] * count, 1, 0))
    found = {"http": {"batched": figures}}
    if not variant.ours:
        seconds = server.call("POST", "/in-process", {"text": SHORT, "count": count})
        found["in_process"] = {"batched": {
            "requests": count, "seconds": sum(seconds), "rate": count / sum(seconds),
            "p50_ms": percentile(seconds, 0.5) * 1e3, "p99_ms": percentile(seconds, 0.99) * 1e3,
        }}
    return found


def beside_training(server: Server, _: Variant, context: Context) -> Figures:
    """Short texts on an idle server, and beside a training job."""
    sizes = context.sizes
    return interference(server, prepare("/embed", SHORT), context.rows[: sizes.pairs], sizes.interference_seconds)


# In the order in which a server goes through them.
SECTIONS: dict[str, Callable[[Server, Variant, Context], Figures]] = {
    "batches": batches, "singles": singles, "latency": latency, "interference": beside_training,
}
