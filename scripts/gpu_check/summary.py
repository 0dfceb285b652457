"""What a run found, in lines for a reader."""

from typing import Any

Result = dict[str, Any]

SIGNS = {True: "ok", False: "WRONG", None: "not looked at"}


def lines(found: Result) -> list[str]:
    """All of it, in the order of importance."""
    told = [*kernels(found.get("kernels")), *jobs(found), *peers(found), *profile(found.get("profile"))]
    return [*told, "", *(f"{SIGNS[point['holds']]:<14}{point['what']}" for point in found["verdict"])]


def kernels(result: Result | None) -> list[str]:
    """The GPU, and what of its kernels is wrong or nearest to it."""
    if result is None:
        return []
    device = result["device"]
    told = [f"{device['name']}, compute capability {device['compute_capability']},"
            f" {device['multiprocessors']} multiprocessors, {device['memory_bytes'] / 2**30:.0f} GiB",
            f"{len(result['comparisons'])} comparisons of kernels with the CPU, {result['failed']} beyond tolerance"]
    told += [f"  {row['name']}: error {row['error']}, allowed {row['tolerance']}"
             for row in result["comparisons"] if not row["holds"]]
    return told


def jobs(found: Result) -> list[str]:
    """The job's seconds by phase, its memory, and its use of the GPU."""
    told = []
    for name in ("job_cold", "job_warm"):
        job = found.get(name)
        if job:
            phases = ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in job["timings"].items())
            memory = job["peak_gpu_memory_bytes"]
            told.append(f"{name}: {job['seconds']:.2f} s ({phases});"
                        f" {job['steps']} steps in {job['step_seconds']:.2f} s,"
                        f" {job['step_tokens_per_second']:.0f} tokens/s"
                        + (f", {memory / 1e9:.2f} GB of GPU memory" if memory else ""))
    use = found.get("utilisation")
    if use:
        told.append(f"training steps: {use['step_tflops']:.1f} TFLOP/s"
                    + share(use, "measured", "PyTorch's measured peak")
                    + share(use, "datasheet", "the datasheet's peak"))
    return told


def share(use: Result, which: str, what: str) -> str:
    """A part of a peak, where that is known."""
    peak = use[f"{which}_peak_tflops"]
    return f", {use[f'of_{which}_peak']:.1%} of {what} of {peak:.0f}" if peak else ""


def peers(found: Result) -> list[str]:
    """Ratios, and how far apart metrics are."""
    told = []
    for attention, compared in found.get("comparison", {}).items():
        ratios = ", ".join(f"{name.replace('_', ' ')} {value:.2f}"
                           for name, value in compared["ratios"].items() if value is not None)
        told.append(f"sentence-transformers ({attention}), its seconds over ours: {ratios}")
        metrics = compared.get("metrics", {})
        for what in ("largest", "largest_ndcg"):
            row = metrics.get(what)
            if row:
                allowed = f", allowed {row['tolerance']:.4f}" if "tolerance" in row else ""
                told.append(f"  {what.replace('_', ' ')} difference: {row['metric']} of epoch {row['epoch']}: ours"
                            f" {row['matryo']:.4f}, the peer's {row['peer']:.4f}{allowed}")
    return told


def profile(result: Result | None) -> list[str]:
    """The kernels that take longest."""
    if result is None:
        return []
    measured = result["kernels"]
    told = ["", f"kernels of one epoch, {measured['launches']} launches, {measured['seconds']:.2f} s:"]
    return told + [f"  {kernel['share']:6.1%} {kernel['seconds']:9.4f} s {kernel['launches']:8}  {kernel['name']}"
                   for kernel in measured["top"]]
