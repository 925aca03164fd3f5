"""A tiny experiment, to prove the frame: its run is whatever a test gives it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace

from beyond_serve.bench.experiments.experiment import Experiment, PublishedFigure
from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.report import Verdict
from beyond_serve.bench.runs.figures import Figure
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.bench.runs.plots.curves import Panel, Series, curves
from beyond_serve.bench.runs.tables import Table

Run = Callable[[argparse.Namespace, RunFolder, Reporter], None]


def two_points(given: argparse.Namespace, run: RunFolder, reporter: Reporter) -> None:
    for step in (1, 2):
        reporter.status(f"step {step}")
        reporter.progress(step, 2, "halfway")
        run.add_point({"labels": {"step": step}, "load": {"throughput_per_s": step * given.scale}})
    reporter.note("a note with <b>markup</b> & [red]more[/]")


def best(run: RunFolder) -> float | None:
    return max((point["load"]["throughput_per_s"] for point in run.points), default=None)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scale", type=float, default=10.0)


def _tables(run: RunFolder) -> Sequence[Table]:
    rows = [(point["labels"]["step"], point["load"]["throughput_per_s"]) for point in run.points]
    return [Table("Steps <i>", ("step", "images/s [x]"), rows, ["measured & noted"])]


def _plots(run: RunFolder) -> Sequence[Figure]:
    x = [point["labels"]["step"] for point in run.points]
    y = [point["load"]["throughput_per_s"] for point in run.points]
    line = Series("ours", x, y)
    return [
        curves("steps", "It rises", "step", [Panel("images/s", [line])], caption="<script>alert(1)</script>")
    ]


FAKE = Experiment(
    name="fake",
    help="counts to two",
    add_arguments=_add_arguments,
    run=two_points,
    tables=_tables,
    plots=_plots,
    published=(PublishedFigure("best, images/s", "1,600", "A paper, Fig. 3", best, "one RTX 4090"),),
    cannot=lambda: ("what needs two machines",),
    verdicts=lambda run: [Verdict("best", ">= 15/s", f"{best(run)}/s", (best(run) or 0) >= 15)],
)


def running(run: Run) -> Experiment:
    return replace(FAKE, run=run)
