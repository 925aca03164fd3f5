"""Which parts run, for how long, and what becomes of them."""

from __future__ import annotations

import pytest

from beyond_serve.bench.gpu_check.figures import Check, at_least, below, holds
from beyond_serve.bench.gpu_check.findings import Findings, Skip
from beyond_serve.bench.gpu_check.listing import listing
from beyond_serve.bench.gpu_check.part import PARTS, Option, Part, chosen, has_module
from beyond_serve.bench.gpu_check.plan import LEAST_S, Budget, Ended, Outcome, exit_status, judge, run_parts

MET, NOT_MET = Check("a", ">= 1", "2", True), Check("b", ">= 1", "0", False)


def part(name: str, limit_s: float = 60, *needs: str) -> Part:
    return Part(name, name.title(), f"parts.{name}", needs, (Option("more", ("rare", "other")),), limit_s, 20)


def complete(*checks: Check) -> Ended:
    return Ended(0, Findings(checks=list(checks), complete=True))


class Script:
    """Parts that take as long as they are told, and end as they are told."""

    def __init__(self, **takes: float) -> None:
        self.now = 0.0
        self.takes = takes
        self.launched: list[tuple[str, float]] = []
        self.ends: dict[str, Ended | BaseException] = {}

    def clock(self) -> float:
        return self.now

    def launch(self, each: Part, limit_s: float) -> Ended:
        self.launched.append((each.name, limit_s))
        self.now += min(self.takes[each.name], limit_s)
        end = self.ends.get(each.name, complete(MET))
        if isinstance(end, BaseException):
            raise end
        return end

    def run(self, *parts: Part, total_s: float = 100, has=lambda module: True) -> tuple[list[Outcome], bool]:
        done: list[Outcome] = []
        budget = Budget(total_s, self.clock)
        stopped = run_parts(
            parts, has, self.launch, budget, quick=False, done=done, say=lambda part, outcome: None
        )
        return done, stopped


def test_what_is_over_is_skipped() -> None:
    script = Script(a=50, b=45, c=1)
    done, _ = script.run(part("a"), part("b"), part("c"))
    assert script.launched == [("a", 60), ("b", 50)]
    assert [(outcome.status, outcome.why) for outcome in done] == [
        ("passed", ""),
        ("passed", ""),
        ("skipped", "out of time"),
    ]
    assert [outcome.seconds for outcome in done] == [50, 45, 0]
    assert exit_status(done) == 0


def test_a_part_that_hardly_fits_is_still_run() -> None:
    script = Script(a=60, b=1)
    script.run(part("a"), part("b"), total_s=60 + LEAST_S)
    assert script.launched[1] == ("b", LEAST_S)


def test_a_failing_part_stops_no_other() -> None:
    script = Script(a=1, b=1, c=1)
    script.ends["a"] = Ended(-11, Findings(), "loading\nSegmentation fault\n")
    script.ends["b"] = complete(MET, NOT_MET)
    done, _ = script.run(part("a"), part("b"), part("c"))
    assert [outcome.status for outcome in done] == ["failed", "failed", "passed"]
    assert done[0].why == "its process died of signal 11: Segmentation fault"
    assert exit_status(done) == 1


def test_what_is_not_installed() -> None:
    script = Script(a=1)
    done, _ = script.run(part("a"), part("b", 60, "torch", "cuda"), has=lambda module: module != "torch")
    assert (done[1].status, done[1].why) == ("skipped", "not installed: torch")
    assert [name for name, _ in script.launched] == ["a"]


@pytest.mark.parametrize("how", ["between", "inside"])
def test_interrupted(how: str) -> None:
    script = Script(a=1, b=1, c=1)
    found = Findings(checks=[MET])
    script.ends["b"] = KeyboardInterrupt() if how == "between" else Ended(None, found, "", interrupted=True)
    done, stopped = script.run(part("a"), part("b"), part("c"))
    assert stopped
    assert [outcome.part.name for outcome in done] == ["a", "b", "c"]
    assert [outcome.why for outcome in done] == ["", "interrupted", "interrupted"]
    assert [len(outcome.findings.checks) for outcome in done] == [1, int(how == "inside"), 0]


@pytest.mark.parametrize(
    ("ended", "verdict"),
    [
        (complete(), ("passed", "")),
        (complete(NOT_MET), ("failed", "")),
        (Ended(0, Findings(skipped="nothing was built")), ("skipped", "nothing was built")),
        (Ended(1, Findings(failure="ValueError: x")), ("failed", "ValueError: x")),
        (Ended(None, Findings()), ("failed", "ended before it was through: 30 s were over")),
        (Ended(3, Findings(), "no\nmodule\n\n"), ("failed", "its process ended with 3: module")),
        (Ended(0, Findings(checks=[MET])), ("failed", "its process ended with 0")),
    ],
)
def test_judged(ended: Ended, verdict: tuple[str, str]) -> None:
    assert judge(ended, 30) == verdict


def test_chosen_parts_bring_what_they_need() -> None:
    assert chosen([]) == PARTS
    assert [part.name for part in chosen(["machine"])] == ["machine"]
    assert [part.name for part in chosen(["batcher"])] == ["models", "batcher"]
    assert all(needed in {part.name for part in PARTS} for part in PARTS for needed in part.after)


def test_the_parts_fit_into_the_time() -> None:
    assert sum(part.quick_s for part in PARTS if part.name != "http") <= 230
    assert all(part.quick_s <= part.limit_s for part in PARTS)
    assert len({part.name for part in PARTS}) == len(PARTS)
    assert all(has_module(part.module) for part in PARTS)


def test_has_module() -> None:
    assert has_module("numpy")
    assert not has_module("no_such_package")
    assert not has_module("no_such_package.inside")
    assert not has_module("numpy.no.such")


def test_listing() -> None:
    lines = listing([part("a"), part("b", 60, "torch")], lambda module: module == "rare", "", quick=True)
    assert lines == ["a         A: runs, up to 20 s", "b         B: skipped: not installed: torch"]
    lines = listing([part("a")], lambda module: False, "no driver", quick=False)
    assert lines[0] == "a         A: skipped: no driver"
    assert lines[1].strip() == "without more: not installed: rare or other"
    assert part("a").skips(lambda module: module == "other") == []
    assert part("a").skips(lambda module: False) == [Skip("more", "not installed: rare or other")]


def test_figures() -> None:
    nan = float("nan")
    assert [at_least("w", 8000, value).met for value in (8000, 7999.9, nan)] == [True, False, False]
    assert [below("w", 0.01, value).met for value in (0.0099, 0.01, nan)] == [True, False, False]
    assert at_least("w", 8000, 9123.4, "img/s") == Check("w", ">= 8,000 img/s", "9,123 img/s", True)
    assert holds("w", "all of them") == Check("w", "all of them", "as asked", True)
    assert holds("w", "all of them", "two") == Check("w", "all of them", "two", False)
