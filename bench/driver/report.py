"""What a run of bench/train leaves behind: every figure, and the same as Markdown tables."""

from pathlib import Path
from statistics import median
from typing import Any

import ratios
from results import Results, machine_line, origin_lines, write


def save(path: Path, results: Results) -> None:
    """Writes the figures, their ratios, and both as Markdown."""
    measured = ratios.compute(results["sections"])
    results["ratios"] = {key: round(value["median"], 3) for key, value in measured.items()}
    results["spread"] = measured
    results["throughput"] = ratios.throughput(results["sections"])
    write(path, results, markdown(results))


def ratio_lines(results: Results) -> list[str]:
    """The table of ratios."""
    lines = ["| ratio | median | min | max | rounds |", "| --- | ---: | ---: | ---: | ---: |"]
    for key, value in results["spread"].items():
        lines.append(f"| {key} | {value['median']:.2f} | {value['min']:.2f} | {value['max']:.2f} | {value['rounds']} |")
    return lines


def markdown(results: Results) -> str:
    """All of it for a reader."""
    machine, sections = results["machine"], results["sections"]
    lines = [
        f"# Training against sentence-transformers on {machine['cpu']}",
        "",
        machine_line(machine, "bench/train"),
        "",
    ]
    if any(section["quick"] for section in sections.values()):
        lines += ["**With sections of a quick run, whose figures mean nothing.**", ""]
    lines += ["## Ratios", "", "The peer's time or memory over ours: larger is better.", "", *ratio_lines(results), ""]
    if results["throughput"]:
        lines += ["| our training step | GFLOP/s | machine's peak | share |", "| --- | ---: | ---: | ---: |"]
        for precision, rate in results["throughput"].items():
            peak = f"{rate['peak_gflops']:.0f} | {rate['share_of_peak']:.0%}" if "peak_gflops" in rate else "– | –"
            lines.append(f"| {precision} | {rate['gflops']:.0f} | {peak} |")
        lines.append("")
    lines += ["## Figures", "", "Medians over rounds; a training step's seconds are of one optimizer step.", ""]
    lines += ["| section | variant | seconds | rate | peak memory | rounds |",
              "| --- | --- | ---: | ---: | ---: | ---: |"]
    for name, section in sections.items():
        lines += figure_lines(name, section)
    lines += growth_lines(sections.get("growth"))
    lines += profile_lines(sections.get("step"))
    return "\n".join(lines + origin_lines(sections)) + "\n"


def figure_lines(name: str, section: dict[str, Any]) -> list[str]:
    """A row a variant."""
    rows = section.get("rounds", [])
    if name == "peak":
        return [f"| peak | PyTorch {precision} | | {value:.0f} GFLOP/s | | |"
                for precision, value in section["gflops"].items()]
    lines = []
    for variant in rows[0] if rows else []:
        def middle(quantity: str) -> float:
            return median(row[variant][quantity] for row in rows)

        unit = rows[0][variant].get("unit")
        rate = f"{middle('rate'):.1f} {unit}" if unit else ""
        lines.append(f"| {name} | {variant} | {middle('seconds'):.2f} | {rate} |"
                     f" {middle('peak_memory_bytes') / 1e6:.0f} MB | {len(rows)} |")
    return lines


def growth_lines(section: dict[str, Any] | None) -> list[str]:
    """How time and memory grow with the data."""
    if section is None:
        return []
    lines = ["", "## Growth", "", "Ours, one epoch; seconds of training steps, peak memory of the process.", "",
             "| pairs | seconds | pairs/s | peak memory |", "| ---: | ---: | ---: | ---: |"]
    for row in section["measured"]:
        lines.append(f"| {row['pairs']} | {row['seconds']:.1f} | {row['pairs'] / row['seconds']:.1f} |"
                     f" {row['peak_memory_bytes'] / 1e6:.0f} MB |")
    lines += ["", f"{section['pairs_ratio']:.2f}× the pairs take {section['seconds_ratio']:.2f}× the seconds and"
              f" {section['peak_memory_ratio']:.2f}× the memory."]
    return lines


def profile_lines(section: dict[str, Any] | None) -> list[str]:
    """Where our time goes, by phase, in the last round of the step section."""
    last = section["rounds"][-1] if section else {}
    profiles = {name: row["profile"]["seconds"] for name, row in last.items() if row.get("profile")}
    if not profiles:
        return []
    phases = list(next(iter(profiles.values())))
    lines = ["", "## Our seconds by phase", "", f"The step section's last round, {section['rows']} pairs.", "",
             f"| | {' | '.join(phases)} |", f"| --- |{' ---: |' * len(phases)}"]
    for name, seconds in profiles.items():
        lines.append(f"| {name} | {' | '.join(f'{seconds[phase]:.2f}' for phase in phases)} |")
    return lines
