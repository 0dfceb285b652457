"""Child processes: run to their end, timed, with their peak of memory; and the lines that tell of progress."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

LAST_LINES = 25


class BenchmarkError(Exception):
    """What stops the run, in words for whoever started it."""


@dataclass
class Finished:
    """A process that ended well."""

    seconds: float
    peak_memory_bytes: int


def stop_at_sigterm() -> None:
    """Makes SIGTERM end the run as Ctrl-C does, with its child processes and its scratch folder."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


def progress(message: str) -> None:
    """A line on stderr, with the time."""
    print(f"{datetime.now():%H:%M:%S}  {message}", file=sys.stderr, flush=True)


def environment(threads: int) -> dict[str, str]:
    """The environment of every measured process: the same threads for all, and no network."""
    pools = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    return {
        **os.environ,
        **dict.fromkeys(pools, str(threads)),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "true",
    }


def run(
    command: list[Any], threads: int, log: Path, stdin: Path | None = None, stdout: Path | None = None
) -> Finished:
    """Runs a process and waits; what it prints goes to `log`, or its standard output to `stdout`.

    Raises BenchmarkError with the end of its output where it fails.
    """
    command = [str(part) for part in command]
    with open(log, "wb") as errors, open(stdin or os.devnull, "rb") as source:
        output: IO[bytes] = open(stdout, "wb") if stdout else errors
        try:
            started = time.perf_counter()
            child = subprocess.Popen(command, stdin=source, stdout=output, stderr=errors, env=environment(threads))
            try:
                _, status, usage = os.wait4(child.pid, 0)
            except BaseException:
                child.kill()
                raise
            seconds = time.perf_counter() - started
        finally:
            if stdout:
                output.close()
    # Popen would wait for the child again otherwise.
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        ended = f"was killed by signal {-child.returncode}" if child.returncode < 0 else f"failed ({child.returncode})"
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:])
        raise BenchmarkError(f"this command {ended}:\n  {' '.join(command)}\nits last output was:\n{tail}")
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return Finished(seconds, usage.ru_maxrss * unit)
