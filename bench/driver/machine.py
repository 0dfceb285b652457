"""Which machine this is: what must be known of it to read a figure."""

import os
import platform
import re
from pathlib import Path
from typing import Any

# Vector units that decide which kernels either side runs.
FLAGS = ["avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16"]
BF16 = {"avx512_bf16", "amx_bf16"}


def cpu_facts() -> dict[str, str]:
    """The first processor's lines of /proc/cpuinfo; empty where there is none."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def describe() -> dict[str, Any]:
    """CPU, its flags that matter, cores, memory, kernel."""
    facts = cpu_facts()
    name = facts.get("model name") or platform.processor() or platform.machine()
    # Virtual machines often hide the model behind a brand; family and model tell generations apart.
    if {"cpu family", "model"} <= facts.keys():
        name += f" (family {facts['cpu family']}, model {facts['model']})"
    flags = set(facts.get("flags", "").split())
    return {
        "cpu": name,
        "flags": [flag for flag in FLAGS if flag in flags],
        "cores": cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_bf16(machine: dict[str, Any]) -> bool:
    """Whether products of bf16 run in hardware."""
    return bool(BF16 & set(machine["flags"]))


def slug(machine: dict[str, Any]) -> str:
    """The CPU's name as a part of a file's name."""
    words = re.sub(r"\((R|TM|C)\)", "", machine["cpu"]).replace("family", "").replace("model", "")
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
