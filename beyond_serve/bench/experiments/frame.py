"""Runs any experiment: its folder, its end whatever happens, and everything drawn from its points."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console

from beyond_serve.bench.experiments.experiment import Experiment, PublishedFigure
from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.experiments.terminal import show_tables, show_verdicts
from beyond_serve.bench.report import Verdict
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.bench.runs.render import Content, render
from beyond_serve.bench.runs.style import house_style
from beyond_serve.bench.runs.tables import Table
from beyond_serve.errors import BeyondError, ConfigError

DEFAULT_ROOT = "runs"
COMPLETE, NOT_MET, COULD_NOT, INTERRUPTED = 0, 1, 2, 130
_NO_CONFIG = frozenset({"experiment", "out"})

Status = Literal["complete", "interrupted", "failed"]


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that every experiment has."""
    parser.add_argument("--quick", action="store_true", help="fewer and shorter measurements, under a minute")
    parser.add_argument(
        "--out", metavar="ROOT", default=DEFAULT_ROOT, help="where the run's folder is made (default: ./runs)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")


def run_experiment(experiment: Experiment, given: argparse.Namespace, console: Console) -> int:
    """Measure, keep, draw and print; the exit code.

    Whatever ends the experiment, its folder says so and holds what was measured.

    Raises:
        ConfigError: the folder cannot be made. Later failures are printed and become the exit code.
    """
    config = {key: value for key, value in vars(given).items() if key not in _NO_CONFIG}
    cannot = [f"cannot be measured here: {line}" for line in experiment.cannot()]
    run = RunFolder.create(Path(given.out), experiment.name, config, given.seed, cannot)
    reporter = Reporter(console)
    for line in cannot:
        reporter.say(line)
    status, failure = _measure(experiment, given, run, reporter)
    try:
        run.finish(status, [*reporter.notes, *([_line(failure)] if failure else [])])
        _show(experiment, run, console)
    except BeyondError as error:
        # On a full disk the first failure is the one worth reading.
        failure = failure or error
    if failure is not None:
        reporter.say(f"beyond-bench: {_line(failure)}")
    if status == "interrupted":
        reporter.say(f"interrupted; {len(run.points)} points are kept")
    reporter.say(str(run.path))
    if status == "interrupted":
        return INTERRUPTED
    if failure is not None:
        return COULD_NOT
    return COMPLETE if all(verdict.met for verdict in experiment.verdicts(run)) else NOT_MET


def report(experiments: Sequence[Experiment], path: Path, console: Console) -> int:
    """Draw the run in `path` again; the exit code.

    Raises:
        ConfigError: no run there, of an unknown experiment or version, or a package is missing.
    """
    run = RunFolder.open(path)
    known = {experiment.name: experiment for experiment in experiments}
    if run.meta.experiment not in known:
        hint = f"known are {', '.join(known) or 'none'}"
        raise ConfigError(f"{path} is a run of {run.meta.experiment!r}, which is no experiment here", hint)
    experiment = known[run.meta.experiment]
    _print_tables(experiment, run, console)
    console.print(str(_render(experiment, run)), markup=False, highlight=False, soft_wrap=True)
    return COMPLETE


def _measure(
    experiment: Experiment, given: argparse.Namespace, run: RunFolder, reporter: Reporter
) -> tuple[Status, BaseException | None]:
    try:
        with reporter:
            experiment.run(given, run, reporter)
    except KeyboardInterrupt:
        return "interrupted", None
    except BeyondError as error:
        return "failed", error
    except BaseException as error:
        # A bug: its traceback is wanted, but the folder must not look as if the run went on.
        with contextlib.suppress(BeyondError):
            run.finish("failed", [*reporter.notes, f"{type(error).__name__}: {error}"])
        raise
    if any(point.get("load", {}).get("interrupted") for point in run.points if point.get("load")):
        return "interrupted", None
    return "complete", None


def _show(experiment: Experiment, run: RunFolder, console: Console) -> None:
    _print_tables(experiment, run, console)
    try:
        page = _render(experiment, run)
    except ConfigError as error:
        # The measurements are whole; drawing can be made up for.
        console.print(
            f"no plots and no report: {_line(error)}; then beyond-bench report {run.path}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        return
    console.print(f"report: {page}", markup=False, highlight=False, soft_wrap=True)


def _print_tables(experiment: Experiment, run: RunFolder, console: Console) -> None:
    with _told(experiment):
        tables = [*experiment.tables(run)]
        published = published_table(experiment.published, run)
        verdicts: Sequence[Verdict] = experiment.verdicts(run)
    show_tables(console, [*tables, *([published] if published else [])])
    show_verdicts(console, verdicts)


def _render(experiment: Experiment, run: RunFolder) -> Path:
    with _told(experiment), house_style():
        figures = experiment.plots(run)
        content = Content(
            help=experiment.help,
            figures=figures,
            tables=experiment.tables(run),
            verdicts=experiment.verdicts(run),
            published=published_table(experiment.published, run),
        )
    return render(run, content)


def published_table(published: Sequence[PublishedFigure], run: RunFolder) -> Table | None:
    """The papers' figures, each beside ours."""
    if not published:
        return None
    rows = [(p.what, p.published, p.ours(run), p.where) for p in published]
    hardware = dict.fromkeys(f"{p.where.partition(',')[0]}: {p.hardware}" for p in published if p.hardware)
    notes = [f"published on {'; '.join(hardware)}"] if hardware else []
    return Table("Published figures", ("what", "published", "ours", "where"), rows, notes)


@contextlib.contextmanager
def _told(experiment: Experiment) -> Iterator[None]:
    """What cannot be drawn is told in a line: the points may be few, and they are kept."""
    try:
        yield
    except BeyondError:
        raise
    except Exception as error:
        message = f"{experiment.name} cannot draw these points: {type(error).__name__}: {error}"
        raise ConfigError(message, "the points are kept in points.jsonl") from error


def _line(error: BaseException) -> str:
    if isinstance(error, BeyondError):
        return f"{error.message}{'; ' + error.hint if error.hint else ''}"
    return str(error)
