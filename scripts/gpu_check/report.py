"""The report, written anew after every step, and the steps: each timed, each failing alone."""

import json
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from processes import NoGpu, StepFailed, progress

# With less than this left, a step is not begun.
LEAST_SECONDS = 2.0

Result = dict[str, Any]


def now() -> str:
    """The time, as the report writes it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


class Report:
    """What has been found so far."""

    def __init__(self, path: Path, limit: float, head: Result) -> None:
        self.path, self.limit, self.begun = path, limit, time.perf_counter()
        self.found: Result = {
            "format": 1, "started": now(), "finished": None, "ok": False, "seconds": 0.0, "verdict": [], **head,
            "steps": {},
        }
        self.save()

    def left(self) -> float:
        """Seconds until the limit of the whole check."""
        return self.limit - (time.perf_counter() - self.begun)

    def save(self) -> None:
        """Writes the file, whole or not at all."""
        self.found["seconds"] = round(time.perf_counter() - self.begun, 3)
        beside = self.path.with_name(self.path.name + ".tmp")
        beside.write_text(json.dumps(self.found, indent=1) + "\n", encoding="utf-8")
        beside.replace(self.path)

    def step(self, name: str, what: str, most: float, work: Callable[[float], Result]) -> Result | None:
        """Does a step, which is given its limit in seconds; nothing where it failed or there was no time for it.

        Raises NoGpu as it comes: no other step would find anything either.
        """
        limit = min(most, self.left())
        if limit < LEAST_SECONDS:
            self.skip(name, f"the {self.limit:.0f} s of --limit-s were over")
            return None
        progress(f"{name}: {what}")
        begun = time.perf_counter()
        step: Result = {"status": "running"}
        self.found["steps"][name] = step
        self.save()
        result = None
        try:
            result = work(limit)
            step["status"] = "ok"
        except NoGpu as error:
            step |= {"status": "failed", "reason": f"there is no GPU: {error}"}
            self.save()
            raise
        except StepFailed as failure:
            step |= {"status": "failed", "reason": str(failure), "output": failure.output}
        except Exception as error:  # What one step runs into must not hide what the others find.
            step |= {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
        step["seconds"] = round(time.perf_counter() - begun, 3)
        self.save()
        told = f": {step['reason']}" if "reason" in step else ""
        progress(f"{name}: {step['status']}, {step['seconds']:.1f} s{told}")
        return result

    def skip(self, name: str, reason: str) -> None:
        """Tells of a step that is left out."""
        self.found["steps"][name] = {"status": "skipped", "reason": reason}
        self.save()
        progress(f"{name}: left out: {reason}")

    def finish(self, verdict: list[Result]) -> bool:
        """Writes what it comes to; true where nothing is wrong. What was not looked at (null) is not wrong."""
        ok = all(point["holds"] is not False for point in verdict)
        self.found |= {"verdict": verdict, "ok": ok, "finished": now()}
        self.save()
        return ok
