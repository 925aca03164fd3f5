"""Parts in processes of their own, real ones."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from beyond_serve.bench.gpu_check.child import command, main, run
from beyond_serve.bench.gpu_check.findings import Recorder, read_findings
from beyond_serve.bench.gpu_check.launch import launch
from beyond_serve.bench.gpu_check.part import PARTS
from beyond_serve.bench.gpu_check.site import NotHere, Site
from beyond_serve.errors import ModelLoadError

PART = PARTS[0]


def site(work: Path, limit_s: float = 60) -> Site:
    return Site(0, work, quick=True, limit_s=limit_s, started=time.monotonic())


def python(code: str):
    """A command that runs `code`, which finds the findings' path in sys.argv[1]."""
    return lambda part, site, findings: [sys.executable, "-c", code, str(findings)]


NOTE = "from beyond_serve.bench.gpu_check.findings import Recorder; import sys, pathlib; \
record = Recorder(pathlib.Path(sys.argv[1])); record.note('here'); "


def test_what_it_found_and_said(tmp_path: Path) -> None:
    ended = launch(PART, site(tmp_path), python(NOTE + "print('said'); record.complete(); sys.exit(3)"))
    assert (ended.code, ended.said, ended.findings.notes) == (3, "said\n", ["here"])
    assert ended.findings.complete
    assert not ended.interrupted


def test_its_time_is_over(tmp_path: Path) -> None:
    ended = launch(PART, site(tmp_path, 0.05), python("import signal; signal.pause()"))
    assert ended.code is None
    assert not ended.interrupted


def test_interrupted_by_the_user(tmp_path: Path) -> None:
    """It is ended with all that it started, and what it had found is kept."""
    os.mkfifo(tmp_path / "alive")
    reader = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    code = NOTE + (
        f"import os, signal, subprocess; other = open({str(tmp_path / 'alive')!r}, 'w'); "
        "subprocess.Popen(['sleep', '600'], stdout=other); "
        f"os.kill({os.getpid()}, signal.SIGINT); signal.pause()"
    )
    ended = launch(PART, site(tmp_path), python(code))
    assert ended.interrupted
    assert (ended.code, ended.findings.notes) == (None, ["here"])
    os.set_blocking(reader, True)
    # Ends when the last that holds the other end has died.
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_the_package_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    code = "import beyond_serve, os; print(os.environ['PYTHONPATH'])"
    assert launch(PART, site(tmp_path), python(code)).said.rstrip().endswith(":/elsewhere")


def test_the_command_is_what_main_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    module = type(sys)("a_part")
    module.run = lambda site, record: seen.append(site) or record.note("ran")
    monkeypatch.setitem(sys.modules, PART.module, module)
    given = Site(3, tmp_path, quick=True, limit_s=12.5, started=0)
    before = signal.getsignal(signal.SIGTERM)
    assert main(command(PART, given, tmp_path / "findings")[3:]) == 0
    assert signal.getsignal(signal.SIGTERM) is before
    (found,) = seen
    assert (found.device, found.work, found.quick, found.limit_s) == (3, tmp_path, True, 12.5)
    assert 0 < found.left_s() <= 12.5
    assert read_findings(tmp_path / "findings").complete


def _raise(error: BaseException):
    def part(site: Site, record: Recorder) -> None:
        raise error

    return part


@pytest.mark.parametrize(
    ("error", "code", "skipped", "failure"),
    [
        (NotHere("nothing was built"), 0, "nothing was built", ""),
        (ModelLoadError("no room", "use less"), 1, "", "no room; use less"),
        (ZeroDivisionError("division by zero"), 1, "", "ZeroDivisionError: division by zero"),
    ],
)
def test_how_a_part_ends(tmp_path: Path, error: Exception, code: int, skipped: str, failure: str) -> None:
    assert run(_raise(error), site(tmp_path), Recorder(tmp_path / "findings")) == code
    found = read_findings(tmp_path / "findings")
    assert (found.skipped, found.failure, found.complete) == (skipped, failure, False)
