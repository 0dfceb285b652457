"""Child processes: run to their end or their limit, timed, with their peak of memory."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

LAST_LINES = 25


class StepFailed(Exception):
    """Why a step came to nothing, and what its process said last."""

    def __init__(self, reason: str, output: list[str] | None = None) -> None:
        super().__init__(reason)
        self.output = output or []


class NoGpu(Exception):
    """There is nothing to check, in the binary's words."""


class Interrupts:
    """Signals that ask this program to stop: they raise KeyboardInterrupt, if need be when a child's start is over."""

    held = False
    waiting = False

    @classmethod
    def listen(cls) -> None:
        """Takes Ctrl-C and SIGTERM from now on."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, cls.take)

    @classmethod
    def take(cls, *_: Any) -> None:
        """Stops the program, or leaves a note that it is to stop."""
        if not cls.held:
            raise KeyboardInterrupt
        cls.waiting = True


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Holds interrupts back, so that no child is started that nobody knows of."""
    Interrupts.held = True
    try:
        yield
    finally:
        Interrupts.held = False
    if Interrupts.waiting:
        raise KeyboardInterrupt


@dataclass
class Finished:
    """A process that ended by itself."""

    code: int
    seconds: float
    peak_memory_bytes: int
    log: Path

    def failure(self, what: str) -> StepFailed:
        """Its end as the reason of a step's failure."""
        ended = f"was killed by signal {-self.code}" if self.code < 0 else f"ended with code {self.code}"
        return StepFailed(f"{what} {ended}", last_lines(self.log))


def progress(message: str) -> None:
    """A line with the time, seen at once also through a pipe."""
    print(f"{datetime.now():%H:%M:%S}  {message}", flush=True)


def last_lines(log: Path) -> list[str]:
    """The end of what a process said."""
    return log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]


def run(
    command: list[Any], log: Path, limit: float, environment: dict[str, str], stdout: Path | None = None
) -> Finished:
    """Runs a process and waits; what it says goes to `log`, or its standard output to `stdout`.

    Raises StepFailed where it did not end within `limit` seconds, after which it is killed.
    """
    command = [str(part) for part in command]
    late = threading.Event()
    child: subprocess.Popen | None = None

    def end() -> None:
        late.set()
        if child:
            child.kill()

    timer = threading.Timer(limit, end)
    # So that it keeps nobody waiting who is interrupted.
    timer.daemon = True
    with open(log, "wb") as errors, open(stdout or os.devnull, "wb") as output:
        started = time.perf_counter()
        try:
            with uninterrupted():
                # In this program's group, so that whoever ends the group ends the child too: it may hold the GPU.
                child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output if stdout else errors,
                                         stderr=errors, env=environment)
                timer.start()
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            if child:
                child.kill()
                child.wait()
            raise
        finally:
            timer.cancel()
        seconds = time.perf_counter() - started
    # Popen would wait for the child again otherwise.
    child.returncode = os.waitstatus_to_exitcode(status)
    if late.is_set():
        raise StepFailed(f"{Path(command[0]).name} did not end within {limit:.0f} s", last_lines(log))
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return Finished(child.returncode, seconds, usage.ru_maxrss * unit, log)
