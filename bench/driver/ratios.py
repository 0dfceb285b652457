"""Ratios: the peer's time (or memory) over ours, so that larger is better, with their spread over rounds."""

from statistics import median
from typing import Any

Round = dict[str, dict[str, Any]]


def best(measured: Round, side: str, quantity: str = "seconds") -> float:
    """The best of a side's variants in one round."""
    found = [variant[quantity] for name, variant in measured.items() if name.startswith(side)]
    return min(found)


def spread(values: list[float]) -> dict[str, float]:
    """Least, median and greatest."""
    return {"min": min(values), "median": median(values), "max": max(values), "rounds": len(values)}


def compute(sections: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Every ratio whose section was measured; each is of two figures of the same round."""
    found: dict[str, list[float]] = {}

    def rounds(section: str) -> list[Round]:
        return sections.get(section, {}).get("rounds", [])

    def add(key: str, measured: list[Round], ratio: Any) -> None:
        if measured:
            found[key] = [ratio(row) for row in measured]

    def of_best(row: Round) -> float:
        return best(row, "peer-") / best(row, "ours-")

    add("train_step_best_precision", rounds("step"), of_best)
    in_float32 = [row for row in rounds("step") if "ours-float32" in row]
    add("train_step_float32", in_float32, lambda row: row["peer-float32"]["seconds"] / row["ours-float32"]["seconds"])
    add("evaluation", rounds("evaluation"), of_best)
    add("encode", rounds("encode"), of_best)
    with_openvino = [row for row in rounds("encode") if "openvino-bf16" in row]
    add("encode_openvino_bf16", with_openvino, lambda row: best(row, "openvino-") / best(row, "ours-"))
    add("job", rounds("job"), of_best)
    add("peak_memory", rounds("job"),
        lambda row: best(row, "peer-", "peak_memory_bytes") / best(row, "ours-", "peak_memory_bytes"))
    return {key: spread(values) for key, values in found.items()}


def throughput(sections: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Our GFLOP/s in training steps by precision, of real tokens alone, and its share of the machine's peak."""
    rows = sections.get("step", {}).get("rounds", [])
    peak = sections.get("peak", {})
    found = {}
    for precision in ("float32", "bf16"):
        profiles = [row.get(f"ours-{precision}", {}).get("profile") for row in rows]
        rates = [profile["gflops"] for profile in profiles if profile]
        if not rates:
            continue
        found[precision] = {"gflops": median(rates)}
        # A peak of other threads says nothing of this rate.
        if peak and peak["threads"] == sections["step"]["threads"]:
            found[precision]["peak_gflops"] = peak["gflops"][precision]
            found[precision]["share_of_peak"] = median(rates) / peak["gflops"][precision]
    return found
