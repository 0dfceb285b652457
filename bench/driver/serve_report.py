"""What a run of bench/serve leaves behind: every figure, and the same as Markdown tables."""

from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import serve_ratios
from results import Results, machine_line, origin_lines, write
from serve_ratios import QUANTITIES, SCENARIOS
from variants import PEERS, TITLES


def save(path: Path, results: Results) -> None:
    """Writes the figures, their ratios, and both as Markdown."""
    sections = results["sections"]
    results["spread"] = serve_ratios.compute(sections)
    results["ratios"] = {key: round(value["median"], 3) for key, value in results["spread"].items()}
    results["interference"] = serve_ratios.interference(sections)
    results["goals"] = [asdict(goal) | {"met": goal.met} for goal in serve_ratios.goals(sections)]
    write(path, results, markdown(results))


def markdown(results: Results) -> str:
    """All of it for a reader."""
    machine, sections = results["machine"], results["sections"]
    lines = [f"# Serving against its peers on {machine['cpu']}", "", machine_line(machine, "bench/serve"), ""]
    if any(section["quick"] for section in sections.values()):
        lines += ["**With sections of a quick run, whose figures are rough.**", ""]
    lines += summary_lines(results)
    lines += figure_lines(sections)
    return "\n".join(lines + origin_lines(sections)) + "\n"


def summary_lines(results: Results) -> list[str]:
    """Ratios, interference and goals: what a run prints at its end."""
    sections = results["sections"]
    lines: list[str] = []
    if results["ratios"]:
        lines += ["## Ratios", "",
                  "Our best over the peer's best in throughput, the peer's best over our best in p50 and p99, of each"
                  " round; the median over rounds. Larger is better.", "",
                  "| scenario | " + " | ".join(f"{TITLES[peer]}: throughput, p50, p99" for peer in PEERS) + " |",
                  "| --- |" + " ---: |" * len(PEERS)]
        rows = [(name, f"{section}_{key}_", "") for section, key, name in SCENARIOS]
        rows.append(("one short text, ours over HTTP, the peer without", "latency_http_", "_in_process"))
        for name, before, after in rows:
            cells = [ratio_cell(results["ratios"], before + peer + after) for peer in PEERS]
            if any(cells):
                lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    lines += interference_lines(sections)
    goals = serve_ratios.goals(sections)
    if goals:
        lines += ["## Goals", "",
                  "TEI is text-embeddings-inference 1.9 as it was measured before on two Zen 4 cores: "
                  f"{serve_ratios.TEI_BATCHES} passages/s in batches, {serve_ratios.TEI_SINGLES} singles/s,"
                  f" {serve_ratios.TEI_SHORT_MS} ms; it was not part of this run.", "",
                  "| goal | measured | wanted | |", "| --- | ---: | ---: | --- |", *(goal.line() for goal in goals), ""]
    return lines


def ratio_cell(ratios: dict[str, float], key: str) -> str:
    """Throughput, p50 and p99; nothing where they were not measured."""
    found = [ratios.get(f"{key}_{quantity}") for quantity in QUANTITIES.values()]
    return "" if None in found else ", ".join(f"{ratio:.2f}" for ratio in found)


def interference_lines(sections: dict[str, Any]) -> list[str]:
    """Short texts without and with a job, and what the job keeps of its throughput."""
    rows = [(name, figures) for row in serve_ratios.rounds(sections, "interference") for name, figures in row.items()]
    if not rows:
        return []
    lines = ["## Beside a training job", "",
             "One short text; `closed`: one connection without pause, `paced`: 20 requests a second over 4"
             " connections.", "",
             "| server | load | p50, p99 ms idle | p50, p99 ms beside training | p99 ratio"
             " | training pairs/s, without load | with |",
             "| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    for name, figures in rows:
        for load in ("closed", "paced"):
            idle, busy = figures["idle"][load], figures["training"][load]
            rates = figures["training_pairs_per_second"]
            lines.append(
                f"| {name} | {load} | {idle['p50_ms']:.2f}, {idle['p99_ms']:.2f} |"
                f" {busy['p50_ms']:.2f}, {busy['p99_ms']:.2f} | {busy['p99_ms'] / idle['p99_ms']:.2f} |"
                f" {rate_cell(rates['without_load'])} | {rate_cell(rates[load])} |")
    return [*lines, ""]


def rate_cell(rate: float | None) -> str:
    """A rate; a dash where too little was seen of it."""
    return "–" if rate is None else f"{rate:.1f}"


def figure_lines(sections: dict[str, Any]) -> list[str]:
    """A row for each scenario and server."""
    lines = ["## Figures", "",
             "Medians over rounds. `client`: the share of one core that the load generator took beside the server;"
             " `server`: cores that the server took.", "",
             "| scenario | server | passages/s | p50 ms | p99 ms | client | server | rounds |",
             "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for section, key, name in [*SCENARIOS, ("latency", "in_process", "one short text, without HTTP")]:
        measured = serve_ratios.rounds(sections, section)
        for variant in measured[0] if measured else []:
            for label in measured[0][variant].get(key, {}):
                figures = [row[variant][key][label] for row in measured]
                middle = {quantity: median(row[quantity] for row in figures)
                          for quantity in figures[0] if all(quantity in row for row in figures)}
                who = variant if label == "batched" else f"{variant}, unbatched"
                cores = "".join(f" {middle[used]:.2f} |" if used in middle else " – |"
                                for used in ("client_cpu", "server_cpu"))
                lines.append(f"| {name} | {who} | {middle['rate']:.1f} | {middle['p50_ms']:.2f} |"
                             f" {middle['p99_ms']:.2f} |{cores} {len(measured)} |")
    cosines = [figures["least_cosine"] for section in ("batches", "singles")
               for row in serve_ratios.rounds(sections, section) for scenarios in row.values()
               for labels in scenarios.values() for figures in labels.values()]
    if cosines:
        lines += ["", f"The least cosine between two servers' embeddings of the same passage: {min(cosines):.5f}."]
    return [*lines, *memory_lines(sections)] if len(lines) > 6 else []


def memory_lines(sections: dict[str, Any]) -> list[str]:
    """The most memory that each server held over what it was measured in."""
    held: dict[str, int] = {}
    for section in sections.values():
        for row in section["peak_memory_bytes"]:
            for variant, size in row.items():
                held[variant] = max(held.get(variant, 0), size or 0)
    return ["", "| server | peak memory |", "| --- | ---: |",
            *(f"| {variant} | {size / 1e6:.0f} MB |" for variant, size in held.items() if size)]
