"""Which part runs when, for how long, and what became of it. Decides; `Launch` acts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from beyond_serve.bench.gpu_check.findings import Findings
from beyond_serve.bench.gpu_check.part import Has, Part

LEAST_S = 8.0
"""What a part needs at least to start Python, torch and CUDA: an invented number."""

OUT_OF_TIME, INTERRUPTED = "out of time", "interrupted"
Status = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a part's process ended.

    Attributes:
        code: its exit status, negative for a signal; None if it was ended because its time was over.
        said: the last that it wrote to its terminal.
        interrupted: by Ctrl-C.
    """

    code: int | None
    findings: Findings
    said: str = ""
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    Attributes:
        why: it failed or was skipped; empty where its checks say it.
        said: the last that its process wrote, if it failed.
    """

    part: Part
    status: Status
    why: str
    seconds: float
    findings: Findings = field(default_factory=Findings)
    said: str = ""


Launch = Callable[[Part, float], Ended]
"""Run a part for at most so many seconds."""


class Budget:
    """Seconds for all parts together."""

    def __init__(self, total_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + total_s

    def now(self) -> float:
        return self._clock()

    def left_s(self) -> float:
        return max(0.0, self._end - self._clock())

    def for_part(self, part: Part, *, quick: bool) -> float:
        """0 if it is not worth starting."""
        left = min(part.limit(quick=quick), self.left_s())
        return left if left >= LEAST_S else 0.0


def run_parts(
    parts: Sequence[Part],
    has: Has,
    launch: Launch,
    budget: Budget,
    *,
    quick: bool,
    done: list[Outcome],
    say: Callable[[Part, Outcome | None], None],
) -> bool:
    """Run the parts in turn; each outcome is in `done` as soon as it is known.

    Args:
        say: told of each part before (None) and after.

    Returns:
        Whether Ctrl-C ended it; the rest of `parts` is then in `done` as skipped.
    """
    interrupted = False
    for part in parts:
        say(part, None)
        if interrupted:
            outcome = Outcome(part, "skipped", INTERRUPTED, 0.0)
        else:
            try:
                outcome, interrupted = _run(part, has, launch, budget, quick=quick)
            except KeyboardInterrupt:
                outcome, interrupted = Outcome(part, "skipped", INTERRUPTED, 0.0), True
        done.append(outcome)
        say(part, outcome)
    return interrupted


def _run(part: Part, has: Has, launch: Launch, budget: Budget, *, quick: bool) -> tuple[Outcome, bool]:
    lacking = part.lacks(has)
    if lacking:
        return Outcome(part, "skipped", lacking, 0.0), False
    limit_s = budget.for_part(part, quick=quick)
    if not limit_s:
        return Outcome(part, "skipped", OUT_OF_TIME, 0.0), False
    started = budget.now()
    ended = launch(part, limit_s)
    status, why = judge(ended, limit_s)
    said = ended.said if status == "failed" else ""
    return Outcome(part, status, why, budget.now() - started, ended.findings, said), ended.interrupted


def judge(ended: Ended, limit_s: float) -> tuple[Status, str]:
    """A part has passed if it came to its end and every check was met."""
    found = ended.findings
    if found.skipped:
        return "skipped", found.skipped
    trouble = _trouble(ended, limit_s)
    met = all(check.met for check in found.checks)
    return ("failed" if trouble or not met else "passed"), trouble


def _trouble(ended: Ended, limit_s: float) -> str:
    """Why it did not come to its end; empty if it did."""
    if ended.findings.failure:
        return ended.findings.failure
    if ended.interrupted:
        return INTERRUPTED
    if ended.code is None:
        return f"ended before it was through: {limit_s:.0f} s were over"
    if ended.code < 0:
        return f"its process died of signal {-ended.code}{_last(ended.said)}"
    return "" if ended.findings.complete else f"its process ended with {ended.code}{_last(ended.said)}"


def exit_status(outcomes: Sequence[Outcome]) -> int:
    """0: nothing failed; 1: something did."""
    return int(any(outcome.status == "failed" for outcome in outcomes))


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return f": {lines[-1][:300]}" if lines else ""
