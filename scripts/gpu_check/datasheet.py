"""Peaks that NVIDIA's datasheets name: TFLOP/s of dense bf16 products with float32 sums."""

import re

# The first that matches counts. Boards of one name differ by their form, which the name tells.
PEAKS = [
    (r"\bB200\b", 2250.0),
    (r"\bH200 NVL\b", 835.0),
    (r"\b(H200|GH200)\b", 989.0),
    (r"\bH100 NVL\b", 835.0),
    (r"\bH100 PCIe\b", 756.0),
    (r"\bH100\b", 989.0),
    (r"\bA100\b", 312.0),
    (r"\bA30\b", 165.0),
    (r"\bA40\b", 149.7),
    (r"\bL40S\b", 362.0),
    (r"\bL40\b", 181.0),
    (r"\bL4\b", 121.0),
    (r"\bRTX 4090\b", 165.0),
    (r"\bRTX 3090\b", 71.0),
]


def peak_tflops(name: str) -> float | None:
    """The peak of a GPU by the name that the driver gives it; nothing for one that is not listed."""
    return next((peak for pattern, peak in PEAKS if re.search(pattern, name)), None)
