"""The sweep: what it measures next, when it ends, and what it shows."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import pytest

from beyond_serve.bench.experiments.pace import Pace
from beyond_serve.bench.experiments.sweep import EXPERIMENT
from beyond_serve.bench.experiments.sweep.figures import network_share, queue_ms, queue_share
from beyond_serve.bench.experiments.sweep.measure import SweepPlan, add_arguments, sweep, sweep_plan
from beyond_serve.bench.experiments.sweep.plan import affordable, concurrencies, enough, knee
from beyond_serve.bench.load.arrivals import Arrivals, ClosedLoop, Poisson
from beyond_serve.errors import ConfigError
from tests.bench.experiments.points import load, run_of

LABELS = {"model": "demo", "size": "medium"}


def test_concurrency_doubles_up_to_the_highest() -> None:
    assert concurrencies(1) == [1]
    assert concurrencies(16) == [1, 2, 4, 8, 16]
    assert concurrencies(20) == [1, 2, 4, 8, 16, 20]
    assert concurrencies(64, 4) == [1, 4, 16, 64]


def asked(*words: str) -> SweepPlan:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return sweep_plan(parser.parse_args(words, argparse.Namespace(quick=False, seed=0)))


def test_the_whole_range_is_swept_by_default() -> None:
    found = asked()
    assert (found.highest, found.step) == (4096, 2)
    assert found.shares == (0.5, 0.7, 0.8, 0.9, 0.95)
    assert asked("--max-concurrency", "64", "--no-open-loop").shares == ()


@pytest.mark.parametrize("highest", ["0", "-3", "65537"])
def test_a_concurrency_that_cannot_be_is_refused(highest: str) -> None:
    with pytest.raises(ConfigError, match=f"--max-concurrency is {highest}"):
        asked("--max-concurrency", highest)


def test_images_in_flight_take_a_quarter_of_the_memory_at_most() -> None:
    assert affordable(4096, 121_000, 24 * 2**30) == 4096
    assert affordable(4096, 9_528_000, 24 * 2**30) == 676
    assert affordable(4096, 9_528_000, 1) == 1


def test_a_point_is_long_enough_to_answer_each_client_often() -> None:
    pace = Pace(2.0, 8.0, 5.0)
    assert pace.lengths(1, 1000.0) == (2.0, 8.0)
    assert pace.lengths(4096, 1024.0) == (8.0, 20.0)
    assert pace.lengths(4096, 0.0) == (2.0, 8.0)


@pytest.mark.parametrize(
    ("rates", "mean_ms", "ended"),
    [
        ([100.0, 101.0, 102.0], 900.0, True),
        ([100.0, 101.0, 102.0], 800.0, False),
        ([100.0, 101.0, 102.0], None, False),
        ([100.0, 101.0], 900.0, False),
        ([100.0, 101.0, 110.0], 900.0, False),
        ([100.0, 110.0, 111.0], 900.0, False),
        ([200.0, 100.0, 110.0], 900.0, True),
    ],
)
def test_flat_and_slow_is_enough(rates: list[float], mean_ms: float | None, ended: bool) -> None:
    assert enough(rates, mean_ms, 800.0) is ended


def test_the_knee_is_where_throughput_is_nearly_the_best() -> None:
    assert knee([(1, 10.0), (2, 90.0), (4, 96.0), (8, 100.0)]) == 4
    assert knee([(1, 0.0)]) is None
    assert knee([]) is None


class FakeServer:
    """Answers at most 1,000/s, and each request in 4 ms at least."""

    def __init__(self) -> None:
        self.asked: list[tuple[Mapping[str, object], Arrivals, float]] = []

    def measure(
        self, labels: Mapping[str, object], arrivals: Arrivals, warmup_s: float, measured_s: float
    ) -> dict[str, Any]:
        self.asked.append((labels, arrivals, measured_s))
        rate = 700.0
        if isinstance(arrivals, ClosedLoop):
            rate = min(1000.0, arrivals.concurrency / 0.004)
            return {"load": load(rate, 1000 * arrivals.concurrency / rate)}
        return {"load": load(rate)}


def plan(bound_ms: float = 100.0, shares: tuple[float, ...] = (0.5,)) -> SweepPlan:
    return SweepPlan(highest=4096, step=2, bound_ms=bound_ms, shares=shares, pace=Pace(1.0, 2.0, 4.0))


def concurrencies_asked(server: FakeServer) -> list[int]:
    return [asked.concurrency for _, asked, _ in server.asked if isinstance(asked, ClosedLoop)]


def test_a_sweep_ends_early_and_says_so() -> None:
    server = FakeServer()
    (said,) = sweep(plan(), 4096, LABELS, server.measure)
    assert concurrencies_asked(server) == [1, 2, 4, 8, 16, 32, 64, 128]
    assert said.startswith("demo, medium: ended at a concurrency of 128 of 4096")


def test_a_sweep_to_its_end_says_nothing() -> None:
    server = FakeServer()
    assert list(sweep(plan(bound_ms=1e9), 4096, LABELS, server.measure)) == []
    assert concurrencies_asked(server)[-1] == 4096
    # Four rounds of 4096 at 1,000/s, so that the run is steady.
    assert server.asked[12][2] == pytest.approx(4 * 4.096)


def test_random_arrivals_follow_at_shares_of_the_best() -> None:
    server = FakeServer()
    list(sweep(plan(shares=(0.5, 0.9)), 16, LABELS, server.measure))
    labels = [label for label, asked, _ in server.asked if isinstance(asked, Poisson)]
    rates = [asked.rate for _, asked, _ in server.asked if isinstance(asked, Poisson)]
    assert rates == [500.0, 900.0]
    assert [label["load"] for label in labels] == [0.5, 0.9]


def point(concurrency: int, rate: float, waiting_ms: float, void: tuple[str, ...] = ()) -> dict[str, Any]:
    latency = 1000 * concurrency / rate
    stages = {"decode_wait": waiting_ms * 0.75, "batch_wait": waiting_ms * 0.25, "network": 0.1 * latency}
    return {
        "labels": {**LABELS, "arrivals": "closed", "concurrency": concurrency},
        "load": load(rate, latency, stages, void),
        "server": {"cpu": 0.97},
    }


def open_point(share: float) -> dict[str, Any]:
    found = point(64, 1000.0, 8.0)
    return found | {"labels": {**LABELS, "arrivals": "poisson", "load": share}}


SWEPT = (
    point(1, 250.0, 0.0),
    point(64, 1000.0, 32.0),
    point(512, 990.0, 480.0, void=("late",)),
    point(4096, 980.0, 4000.0),
)


def test_queueing_is_waiting_for_decoders_and_for_batches() -> None:
    assert queue_ms(SWEPT[1]) == 32.0
    assert queue_share(SWEPT[1]) == pytest.approx(50.0)
    assert network_share(SWEPT[1]) == pytest.approx(10.0)


def test_without_traces_queueing_is_not_known() -> None:
    untraced = SWEPT[0] | {"load": load()}
    assert (queue_ms(untraced), queue_share(untraced), network_share(untraced)) == (None, None, None)


def test_the_papers_figures_beside_ours() -> None:
    best, shares, longest, flat, gpu = (figure.ours(run_of(*SWEPT)) for figure in EXPERIMENT.published)
    assert best == "95 % of the best from 64 (demo, medium)"
    assert shares == "50 % at 64, 93 % at 512, void (demo, medium)"
    assert longest == "4.00 s at 4096 (demo, medium)"
    assert flat == "98 % of the best at 4096 (demo, medium)"
    assert gpu is None


def test_without_points_nothing_is_beside_the_papers() -> None:
    assert [figure.ours(run_of()) for figure in EXPERIMENT.published] == [None] * 5
    assert EXPERIMENT.tables(run_of()) == []


def test_tables_of_closed_and_open_loops() -> None:
    closed, random = EXPERIMENT.tables(run_of(*SWEPT, open_point(0.5)))
    assert [row[0] for row in closed.rows] == [1, 64, 512, 4096]
    assert [row[-1] for row in closed.rows] == ["", "", "void", ""]
    assert "VOID at 512: late" in closed.notes
    assert random.rows[0][0] == 50.0
    assert all(len(row) == len(found.columns) for found in (closed, random) for row in found.rows)


def test_plots_shade_the_papers_range_where_it_was_swept() -> None:
    load_figure, queue_figure = EXPERIMENT.plots(run_of(*SWEPT))
    assert (load_figure.name, queue_figure.name) == ("sweep", "sweep-queue")
    assert "paper's best" in [text.get_text() for text in load_figure.drawing.axes[0].texts]
    assert "paper's 34 to 91 %" in [text.get_text() for text in queue_figure.drawing.axes[1].texts]


def test_a_plot_of_random_arrivals() -> None:
    (figure,) = EXPERIMENT.plots(run_of(open_point(0.5), open_point(0.9)))
    assert figure.name == "sweep-open"
    assert list(figure.drawing.axes[1].lines[0].get_xdata()) == [50.0, 90.0]


def test_plots_of_a_short_sweep_shade_nothing() -> None:
    short, _ = EXPERIMENT.plots(run_of(SWEPT[0]))
    assert "paper's best" not in [text.get_text() for text in short.drawing.axes[0].texts]


def test_plots_without_points_say_so() -> None:
    empty, _ = EXPERIMENT.plots(run_of())
    assert [text.get_text() for text in empty.drawing.axes[0].texts] == ["no point was measured"]
