"""Ratios of bench/serve, larger being better for us: our best over each peer's best, and the goals."""

from dataclasses import dataclass
from statistics import median
from typing import Any

from ratios import spread
from variants import OURS, PEERS, TITLES

# Section, key within it, and what it is called.
SCENARIOS = [
    ("batches", "file", "batches of 32, as in the file"),
    ("batches", "sorted", "batches of 32, sorted by length"),
    ("singles", "1", "singles, 1 connection"),
    ("singles", "8", "singles, 8 connections"),
    ("singles", "64", "singles, 64 connections"),
    ("latency", "http", "one short text"),
]
# What the figures call them → what the ratios do.
QUANTITIES = {"rate": "throughput", "p50_ms": "p50", "p99_ms": "p99"}
# text-embeddings-inference 1.9, built with candle and MKL, as it was measured on two Zen 4 cores; not part of a run.
TEI_BATCHES, TEI_SINGLES, TEI_SHORT_MS = 75, 54, 8.1
# ONNX Runtime without HTTP, measured on the same.
ONNXRUNTIME_SHORT_MS = 3.4

Round = dict[str, dict[str, Any]]


def best(measured: Round, side: str, key: str, quantity: str) -> float | None:
    """The best of a side in one round, over its precisions and its ways of batching; none where it was not measured."""
    found = [
        figures[quantity]
        for variant, scenarios in measured.items() if variant.startswith(f"{side}-") and key in scenarios
        for figures in scenarios[key].values()
    ]
    if not found:
        return None
    return max(found) if quantity == "rate" else min(found)


def rounds(sections: dict[str, Any], section: str) -> list[Round]:
    """A section's rounds."""
    return sections.get(section, {}).get("rounds", [])


def compute(sections: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The spread over rounds of every ratio; each is of two figures of one round."""
    found: dict[str, dict[str, float]] = {}

    def add(label: str, section: str, peer: str, key: str, their_key: str) -> None:
        measured = rounds(sections, section)
        for quantity, name in QUANTITIES.items():
            pairs = [(best(row, OURS, key, quantity), best(row, peer, their_key, quantity)) for row in measured]
            if pairs and all(None not in pair for pair in pairs):
                ratios = [ours / theirs if quantity == "rate" else theirs / ours for ours, theirs in pairs]
                found[f"{label}_{name}"] = spread(ratios)

    for section, key, _ in SCENARIOS:
        for peer in PEERS:
            add(f"{section}_{key}_{peer}", section, peer, key, key)
    for peer in PEERS:
        add(f"latency_http_{peer}_in_process", "latency", peer, "http", "in_process")
    return found


def interference(sections: dict[str, Any]) -> dict[str, dict[str, float]]:
    """How many times longer a short text takes beside training, and the share of its throughput that training keeps."""
    measured = [(name, figures) for row in rounds(sections, "interference") for name, figures in row.items()]
    found: dict[str, list[float]] = {}
    for name, figures in measured:
        for load in ("closed", "paced"):
            for quantity in ("p50_ms", "p99_ms"):
                ratio = figures["training"][load][quantity] / figures["idle"][load][quantity]
                found.setdefault(f"{name}_{load}_{quantity}", []).append(ratio)
            rates = figures["training_pairs_per_second"]
            if rates["without_load"] and rates[load]:
                found.setdefault(f"{name}_{load}_training_share", []).append(rates[load] / rates["without_load"])
    return {key: spread(values) for key, values in found.items()}


@dataclass(frozen=True)
class Goal:
    """One goal and how near it is."""

    name: str
    value: float
    least: float | None = None
    most: float | None = None

    @property
    def met(self) -> bool:
        return self.value >= self.least if self.least is not None else self.value <= self.most

    def line(self) -> str:
        """A row of the table."""
        sign, bound = ("≥", self.least) if self.least is not None else ("≤", self.most)
        verdict = "met" if self.met else f"missed by {abs(self.value / bound - 1):.0%}"
        return f"| {self.name} | {self.value:.2f} | {sign} {bound:.2f} | {verdict} |"


def goals(sections: dict[str, Any]) -> list[Goal]:
    """Every goal whose sections were measured; medians over rounds."""
    found, ratios = [], compute(sections)
    for section, key, name in SCENARIOS:
        for peer, least in (("sentence-transformers", 1.8), ("openvino", 1.4)):
            rate = ratios.get(f"{section}_{key}_{peer}_throughput")
            if rate and section != "latency":
                found.append(Goal(f"throughput over {TITLES[peer]}'s, {name}", rate["median"], least=least))
    medians = {
        (section, key, quantity): [best(row, OURS, key, quantity) for row in rounds(sections, section)]
        for section, key, _ in SCENARIOS for quantity in QUANTITIES
    }
    medians = {key: median(values) for key, values in medians.items() if values and None not in values}
    for section, key, name in SCENARIOS:
        rate, p50 = medians.get((section, key, "rate")), medians.get((section, key, "p50_ms"))
        if section == "latency" and p50 is not None:
            in_process = [best(row, "onnxruntime", "in_process", "p50_ms") for row in rounds(sections, section)]
            if in_process and None not in in_process:
                found.append(Goal("short text over HTTP, p50 ms, against ONNX Runtime without HTTP", p50,
                                  most=median(in_process)))
            found.append(Goal("short text over HTTP, p50 ms, against ONNX Runtime without HTTP as measured before", p50,
                              most=ONNXRUNTIME_SHORT_MS))
            found.append(Goal("short text over HTTP, p50 ms, a third of TEI's", p50, most=TEI_SHORT_MS / 3))
        elif rate is not None:
            tei = TEI_BATCHES if section == "batches" else TEI_SINGLES
            found.append(Goal(f"passages/s, 3 times TEI's, {name}", rate, least=3 * tei))
    for key, value in interference(sections).items():
        if key.endswith("p99_ms"):
            where = key.removesuffix("_p99_ms").replace("_", ", ")
            found.append(Goal(f"p99 beside training over p99 without, {where}", value["median"], most=3))
    return found
