"""Everything at once: shortly with every run of the tests, for two minutes when asked (`-m long`)."""

from __future__ import annotations

import pytest

from tests.chaos.run import Chaos, Report, run


def assert_nothing_wrong(report: Report) -> None:
    assert not report.tally.faults, report.tally.shown_faults()


def test_a_few_seconds_of_chaos() -> None:
    report = run(Chaos(seconds=2, seed=4, measure_s=0.5, kill_every_s=0.7))
    assert_nothing_wrong(report)
    assert report.killed >= 1
    assert report.tally.outcomes["HTTP /v2", "good", "ok"] > 0
    assert report.tally.abandoned.total() > 0


@pytest.mark.long
def test_two_minutes_of_chaos() -> None:
    assert_nothing_wrong(run(Chaos(seconds=120, seed=11)))
