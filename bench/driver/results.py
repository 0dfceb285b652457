"""The files that a run leaves: JSON with every figure and Markdown beside it; one run can replace a part of it."""

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from processes import BenchmarkError

Results = dict[str, Any]


def load(path: Path, machine: dict[str, Any]) -> Results:
    """What earlier runs measured."""
    if not path.exists():
        return {"machine": machine, "sections": {}}
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        cpu = results["machine"]["cpu"]
        results["sections"].items()
    except (json.JSONDecodeError, KeyError, AttributeError, TypeError) as error:
        raise BenchmarkError(f"{path} is not a benchmark's results; give another file with --out") from error
    if cpu != machine["cpu"]:
        raise BenchmarkError(f"{path} holds results of {cpu}, this is {machine['cpu']}; give another file with --out")
    return results


def write(path: Path, results: Results, markdown: str) -> None:
    """Writes both files, each whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for target, text in ((path, json.dumps(results, indent=1) + "\n"), (path.with_suffix(".md"), markdown)):
        beside = target.with_name(target.name + ".tmp")
        beside.write_text(text, encoding="utf-8")
        beside.replace(target)


def facts(machine: dict[str, Any], threads: int, quick: bool, load_before: float, versions: dict[str, Any]) -> Results:
    """What each section says of how it was measured."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": machine["cpu"],
        "threads": threads,
        "quick": quick,
        "load_before": load_before,
        "versions": versions,
    }


def machine_line(machine: dict[str, Any], command: str) -> str:
    """The paragraph under the Markdown's title."""
    flags = ", ".join(machine["flags"]) or "none that matter"
    return (f"{machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB of memory, {machine['system']};"
            f" vector units: {flags}. Written by `{command}`; [bench/README.md](../README.md) says what is measured.")


def origin_lines(sections: dict[str, Any]) -> list[str]:
    """When each section was measured, and with what."""
    lines = ["", "## Where and with what", "", "| section | date | threads | load before |",
             "| --- | --- | ---: | ---: |"]
    with_versions: dict[str, list[str]] = {}
    for name, section in sections.items():
        lines.append(f"| {name} | {section['date']} | {section['threads']} | {section['load_before']:.1f} |")
        versions = ", ".join(f"{what} {version}" for what, version in section["versions"].items() if version)
        with_versions.setdefault(versions, []).append(name)
    for versions, names in with_versions.items():
        lines += ["", f"{', '.join(names)}: {versions}."]
    return lines
