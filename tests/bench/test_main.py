"""`beyond-bench`'s own commands and their exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from beyond_serve.bench import checks, main
from beyond_serve.bench.report import Result, Verdict
from beyond_serve.bench.runs.folder import RunFolder
from tests.bench.experiments.fake import FAKE


@pytest.fixture(autouse=True)
def _only_the_fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "EXPERIMENTS", (FAKE,))


def code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main.main(arguments)
    assert isinstance(caught.value.code, int)
    return caught.value.code


def runs(root: Path, *scales: str) -> list[str]:
    for scale in scales:
        assert code("fake", "--out", str(root / scale), "--scale", scale) in (0, 1)
    return [str(next((root / scale).iterdir())) for scale in scales]


def test_help_groups_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert code("--help") == 0
    shown = capsys.readouterr().out
    assert (
        shown.index("experiments (") < shown.index("fake") < shown.index("checks (") < shown.index("frontend")
    )
    assert shown.index("compare-runs") < shown.index("130  interrupted")


def test_experiment_report_and_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run,) = runs(tmp_path, "10")
    assert code("report", run) == 0
    assert code("compare-runs", run, run, "--field", "load.throughput_per_s") == 0
    assert "one repetition gives no interval" in capsys.readouterr().out


def test_comparing_what_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = runs(tmp_path, "10", "20")
    assert code("compare-runs", one, other, "--field", "load.throughput_per_s") == 2
    assert "not comparable: config scale: 10.0 and 20.0" in capsys.readouterr().out
    field = ("--field", "load.throughput_per_s", "--anyway")
    assert code("compare-runs", f"{one},{one}", f"{other},{other}", *field) == 0
    assert code("compare-runs", f"{other},{other}", f"{one},{one}", *field) == 1


@pytest.mark.parametrize("arguments", [("report", "{}"), ("compare-runs", "{}", "{}")])
def test_no_run_there(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    assert code(*(argument.format(tmp_path) for argument in arguments)) == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert "is no run's folder" in line


def test_a_run_of_a_newer_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunFolder.create(tmp_path, "fake", {}, 0)
    path = run.path / "run.json"
    path.write_bytes(path.read_bytes().replace(b'"schema": 1', b'"schema": 9'))
    assert code("report", str(run.path)) == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert "of a newer version: schema 9" in line


def test_an_unwritable_root_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert code("fake", "--out", str(tmp_path / "file")) == 2
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("beyond-bench: ")]
    assert "cannot write to" in line


@pytest.mark.parametrize(("met", "expected"), [(True, 0), (False, 1)])
def test_a_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, met: bool, expected: int) -> None:
    result = Result("soak", ("a",), [(1,)], [Verdict("what", "1", "1", met)])
    check = checks.Check("a check", lambda given, progress: result)
    monkeypatch.setitem(checks.CHECKS, "soak", check)
    assert code("soak", "--out", str(tmp_path)) == expected
    assert (tmp_path / "soak.json").exists()


def test_an_interrupted_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> Result:
        raise KeyboardInterrupt

    monkeypatch.setitem(checks.CHECKS, "soak", checks.Check("a check", stopped))
    assert code("soak") == 130


def test_every_flag_of_the_checks_parses() -> None:
    for name, check in checks.CHECKS.items():
        parsed = main._parser().parse_args([name])
        assert {option for option, _ in check.defaults} <= vars(parsed).keys()
    assert main._parser().parse_args(["decoders", "--formats"]).formats
