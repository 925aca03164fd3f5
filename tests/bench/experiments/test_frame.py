"""The frame runs an experiment, and whatever ends it the points are kept and the folder says so."""

from __future__ import annotations

import argparse
import io
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from beyond_serve.bench.experiments.experiment import Experiment
from beyond_serve.bench.experiments.frame import add_common_arguments, report, run_experiment
from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.errors import ConfigError, EngineError
from tests.bench.experiments.fake import FAKE, running, two_points


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=120)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def given(root: Path, *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_common_arguments(parser)
    FAKE.add_arguments(parser)
    return parser.parse_args(["--out", str(root), *arguments])


def run_of(root: Path) -> RunFolder:
    (path,) = root.iterdir()
    return RunFolder.open(path)


def test_a_complete_run(tmp_path: Path, console: Console) -> None:
    assert run_experiment(FAKE, given(tmp_path, "--seed", "5", "--quick"), console) == 0
    run = run_of(tmp_path)
    assert (run.meta.status, run.meta.seed, len(run.points)) == ("complete", 5, 2)
    assert dict(run.meta.config) == {"quick": True, "seed": 5, "scale": 10.0}
    assert list(run.meta.notes) == [
        "cannot be measured here: what needs two machines",
        "a note with <b>markup</b> & [red]more[/]",
    ]
    for name in ("report.html", "plots/steps.png", "plots/steps.svg"):
        assert (run.path / name).stat().st_size > 1000
    shown = said(console)
    for text in (
        "images/s [x]",
        "1,600",
        "A paper, Fig. 3",
        "one RTX 4090",
        "[red]more[/]",
        "cannot be measured",
    ):
        assert text in shown
    assert shown.rstrip().endswith(str(run.path))


def test_an_asked_figure_not_met(tmp_path: Path, console: Console) -> None:
    assert run_experiment(FAKE, given(tmp_path, "--scale", "1"), console) == 1
    assert run_of(tmp_path).meta.status == "complete"
    assert "not met" in said(console)


def _interrupted(arguments: argparse.Namespace, run: RunFolder, reporter: Reporter) -> None:
    two_points(arguments, run, reporter)
    raise KeyboardInterrupt


def _kept_inside(arguments: argparse.Namespace, run: RunFolder, reporter: Reporter) -> None:
    run.add_point({"labels": {"step": 1}, "load": {"throughput_per_s": 3.0, "interrupted": True}})


@pytest.mark.parametrize(("run", "points"), [(_interrupted, 2), (_kept_inside, 1)])
def test_interrupted(tmp_path: Path, console: Console, run: object, points: int) -> None:
    experiment = running(run)  # type: ignore[arg-type]
    assert run_experiment(experiment, given(tmp_path), console) == 130
    found = run_of(tmp_path)
    assert (found.meta.status, len(found.points)) == ("interrupted", points)
    assert (found.path / "report.html").exists()
    assert f"interrupted; {points} points are kept" in said(console)


def test_interrupted_before_the_first_point(tmp_path: Path, console: Console) -> None:
    def run(*_: object) -> None:
        raise KeyboardInterrupt

    assert run_experiment(running(run), given(tmp_path), console) == 130
    assert run_of(tmp_path).points == []
    assert (run_of(tmp_path).path / "report.html").exists()


def test_a_server_that_dies_in_the_middle(tmp_path: Path, console: Console) -> None:
    def run(arguments: argparse.Namespace, run: RunFolder, reporter: Reporter) -> None:
        two_points(arguments, run, reporter)
        raise EngineError("the server ended with 137", "look at its log")

    assert run_experiment(running(run), given(tmp_path), console) == 2
    found = run_of(tmp_path)
    assert (found.meta.status, len(found.points)) == ("failed", 2)
    assert "the server ended with 137; look at its log" in found.meta.notes
    assert "beyond-bench: the server ended with 137; look at its log" in said(console)
    assert (found.path / "report.html").exists()


def test_a_bug_shows_its_traceback_and_marks_the_run(tmp_path: Path, console: Console) -> None:
    def run(*_: object) -> None:
        raise ZeroDivisionError("by nothing")

    with pytest.raises(ZeroDivisionError):
        run_experiment(running(run), given(tmp_path), console)
    assert run_of(tmp_path).meta.status == "failed"
    assert "ZeroDivisionError: by nothing" in run_of(tmp_path).meta.notes


def test_an_unwritable_root(tmp_path: Path, console: Console) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write to"):
        run_experiment(FAKE, given(tmp_path / "file"), console)


def test_a_folder_that_goes_away(tmp_path: Path, console: Console) -> None:
    def run(arguments: argparse.Namespace, run: RunFolder, reporter: Reporter) -> None:
        (run.path / "run.json").unlink()
        run.path.rmdir()
        run.path.write_text("")
        two_points(arguments, run, reporter)

    assert run_experiment(running(run), given(tmp_path), console) == 2
    assert "cannot write to" in said(console)


@pytest.mark.parametrize("missing", ["matplotlib", "jinja2"])
def test_a_missing_package_keeps_the_points(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    assert run_experiment(FAKE, given(tmp_path), console) == 0
    run = run_of(tmp_path)
    assert len(run.points) == 2
    (line,) = [line for line in said(console).splitlines() if line.startswith("no plots and no report")]
    assert missing in line
    assert "pip install 'beyond-serve[bench]'" in line
    with pytest.raises(ConfigError, match=missing):
        report([FAKE], run.path, console)
    monkeypatch.undo()
    assert report([FAKE], run.path, console) == 0
    assert (run.path / "report.html").exists()


def test_points_that_cannot_be_drawn(tmp_path: Path, console: Console) -> None:
    def run(arguments: argparse.Namespace, run: RunFolder, reporter: Reporter) -> None:
        run.add_point({"labels": {"step": 1}})

    assert run_experiment(running(run), given(tmp_path), console) == 2
    assert "fake cannot draw these points: KeyError: 'load'; the points are kept" in said(console)
    assert len(run_of(tmp_path).points) == 1


def test_the_report_is_drawn_again(tmp_path: Path, console: Console) -> None:
    run_experiment(FAKE, given(tmp_path), console)
    run = run_of(tmp_path)
    drawn = {path: path.read_bytes() for path in (run.path / "report.html", run.path / "plots" / "steps.svg")}
    for path in drawn:
        path.unlink()
    assert report([FAKE], run.path, console) == 0
    assert {path: path.read_bytes() for path in drawn} == drawn
    assert str(run.path / "report.html") in said(console)


def test_a_run_of_an_unknown_experiment(tmp_path: Path, console: Console) -> None:
    run = RunFolder.create(tmp_path, "gone", {}, 0)
    with pytest.raises(ConfigError, match="a run of 'gone'") as caught:
        report([FAKE], run.path, console)
    assert caught.value.hint == "known are fake"


def test_status_lines_where_there_is_no_terminal(console: Console) -> None:
    with Reporter(console) as reporter:
        reporter.status("measuring [x]")
        reporter.status("measuring [x]")
        reporter.progress(1, 2)
        reporter.status("again")
    assert said(console).splitlines() == ["measuring [x]", "again"]


def test_a_live_line_at_a_terminal_leaves_nothing_behind() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with Reporter(console) as reporter:
        reporter.status("measuring")
        reporter.progress(1, 2, "5 requests/s")
        reporter.say("kept")
    assert "kept" in said(console)
    assert said(console).count("measuring") == said(console).count("5 requests/s")


def test_every_experiment_is_well_formed() -> None:
    from beyond_serve.bench.experiments import EXPERIMENTS

    names = [experiment.name for experiment in EXPERIMENTS]
    assert len(set(names)) == len(names)
    for experiment in EXPERIMENTS:
        assert experiment.help
        assert "\n" not in experiment.help
        assert all(not line.endswith("\n") for line in experiment.cannot())


def test_every_experiment_draws_a_run_without_points(tmp_path: Path, console: Console) -> None:
    from beyond_serve.bench.experiments import EXPERIMENTS

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    def at_once(experiment: Experiment) -> Experiment:
        return replace(experiment, run=interrupted)

    for experiment in EXPERIMENTS:
        root = tmp_path / experiment.name
        arguments = argparse.Namespace(out=str(root), seed=0, quick=True)
        assert run_experiment(at_once(experiment), arguments, console) == 130
        assert (run_of(root).path / "report.html").exists(), said(console)
