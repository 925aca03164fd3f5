"""SIGTERM ends a run as Ctrl-C does."""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from beyond_serve.bench import main
from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.bench.termination import terminated_as_interrupted
from tests.bench.experiments.fake import running, two_points


@pytest.fixture
def sigint_ignored() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


def terminate() -> None:
    signal.raise_signal(signal.SIGTERM)


def test_a_terminated_run_keeps_its_points_and_ends_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []

    def run(given: argparse.Namespace, folder: RunFolder, reporter: Reporter) -> None:
        try:
            two_points(given, folder, reporter)
            terminate()
        finally:
            # `timeout` sends it twice: the server's end must not be broken off.
            terminate()
            ended.append("server")

    monkeypatch.setattr(main, "EXPERIMENTS", (running(run),))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        main.main(["fake", "--out", str(tmp_path)])
    (path,) = tmp_path.iterdir()
    kept = RunFolder.open(path)
    assert (caught.value.code, kept.meta.status, len(kept.points)) == (130, "interrupted", 2)
    assert ended == ["server"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_it_interrupts_also_where_the_shell_has_sigint_ignored(sigint_ignored: None) -> None:
    with pytest.raises(KeyboardInterrupt), terminated_as_interrupted():
        terminate()


def test_an_event_loop_cancels_its_main_task_first() -> None:
    told: list[str] = []

    async def work() -> None:
        try:
            terminate()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    with pytest.raises(KeyboardInterrupt), terminated_as_interrupted():
        asyncio.run(work())
    assert told == ["cancelled"]
