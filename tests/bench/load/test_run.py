"""Whole runs: worker processes on the real server, and on servers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from beyond_serve.batching import STAGES
from beyond_serve.bench.load import (
    Arrivals,
    ClosedLoop,
    ConstantRate,
    LoadProgress,
    LoadResult,
    LoadSpec,
    MixImage,
    Replay,
    Target,
    run_load,
)
from beyond_serve.bench.load import workers as workers_module
from beyond_serve.errors import ConfigError
from tests.bench.load.scripted_server import ScriptedServer, ok, parts, scripted
from tests.end_to_end.serving import Server, serving

IMAGE = MixImage("x", b"\xff\xd8" + bytes(3998), 1.0)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving("--model", "null:") as running:
        yield running


def load(url: str, arrivals: Arrivals, protocol: Any = "predict", **options: Any) -> LoadSpec:
    return LoadSpec(
        Target(url, protocol), arrivals, (IMAGE,), **{"duration_s": None, "warmup_s": 0.0, **options}
    )


def check_whole(result: LoadResult, count: int) -> None:
    assert len(result.measured) == count
    assert result.errors == {}
    table = result.measured
    assert np.all(table.scheduled_ns <= table.sent_ns)
    assert np.all(table.sent_ns < table.received_ns)
    assert not np.isnan(table.server_us).any()
    # What the server says it took lies inside what the client waited.
    assert np.all(table.latency_from_send_ns / 1e3 + 50 >= table.server_us)
    stages = result.summary()["stages_ms"]
    assert isinstance(stages, dict)
    assert set(STAGES) < stages["mean"].keys()
    assert stages["mean"]["network"] > 0


@pytest.mark.parametrize("protocol", ["predict", "v2-http", "v2-grpc"])
def test_a_counted_closed_loop_by_two_workers(server: Server, protocol: str) -> None:
    url = f"grpc://{server.grpc}" if protocol == "v2-grpc" else server.http
    seen: list[LoadProgress] = []
    given = load(url, ClosedLoop(8), protocol, count=600, workers=2)
    result = run_load(given, seen.append)
    check_whole(result, 600)
    assert set(result.table.worker.tolist()) == {0, 1}
    assert len(result.cpu) == 2
    assert (seen[-1].done, seen[-1].in_flight, seen[-1].errors) == (600, 0, 0)
    assert not result.interrupted


def test_a_replay_sends_what_was_recorded(server: Server) -> None:
    times = tuple(i / 1000 for i in range(0, 300, 3))
    result = run_load(load(server.http, Replay(times)))
    check_whole(result, 100)
    assert result.table.scheduled_ns.tolist() == [round(second * 1e9) for second in times]


def test_images_are_drawn_by_their_weights(server: Server) -> None:
    mix = (IMAGE, MixImage("y", IMAGE.data + b"more", 3.0))
    result = run_load(replace(load(server.http, ClosedLoop(4), count=400, seed=3), images=mix))
    assert np.bincount(result.table.image)[1] / 400 == pytest.approx(0.75, abs=0.08)
    assert set((result.table.bytes_out - result.table.bytes_out.min()).tolist()) == {0, 4}


def test_a_run_is_stopped_and_keeps_what_it_has(server: Server) -> None:
    stop = threading.Event()

    def watch(progress: LoadProgress) -> None:
        if progress.done > 100:
            stop.set()

    result = run_load(load(server.http, ConstantRate(1000), duration_s=600.0), watch, stop)
    assert result.interrupted
    assert 100 < len(result.measured) < 100_000
    assert result.errors == {}
    assert result.throughput_per_s > 0


def test_ctrl_c_still_gives_the_result(server: Server) -> None:
    pressed = False

    def interrupt(progress: LoadProgress) -> None:
        nonlocal pressed
        if progress.done > 100 and not pressed:
            pressed = True
            raise KeyboardInterrupt

    result = run_load(load(server.http, ClosedLoop(2), duration_s=600.0), interrupt)
    assert result.interrupted
    assert len(result.measured) > 100


def test_a_server_that_dies_is_counted_and_ends_nothing_too_late() -> None:
    with serving("--model", "null:") as mortal:

        def kill(progress: LoadProgress) -> None:
            if progress.done > 200 and mortal.process.poll() is None:
                mortal.process.send_signal(signal.SIGKILL)

        result = run_load(load(mortal.http, ConstantRate(1000), duration_s=1.5), kill)
    assert len(result.measured) == 1500
    assert result.errors["connection refused"] > 100
    assert len(result.answered) > 200
    assert 0 < result.throughput_per_s < 1000


def test_a_worker_that_dies_leaves_its_rows(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[workers_module.WorkerProcess] = []
    start = workers_module.WorkerProcess.start

    def noted(self: workers_module.WorkerProcess, start_ns: int) -> None:
        made.append(self)
        start(self, start_ns)

    monkeypatch.setattr(workers_module.WorkerProcess, "start", noted)

    def kill(progress: LoadProgress) -> None:
        if progress.done > 100:
            made[0]._process.kill()

    result = run_load(load(server.http, ClosedLoop(2), duration_s=600.0), kill)
    assert "a worker died: exit status -9" in result.void[0]
    assert len(result.answered) > 100


def test_workers_that_cannot_start_are_one_clear_line(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module, "WORKER_MODULE", "beyond_serve.no_such_module")
    with pytest.raises(ConfigError, match="could not start: exit status 1"):
        run_load(load(server.http, ClosedLoop(1), count=1))


@contextlib.asynccontextmanager
async def refusing() -> AsyncIterator[ScriptedServer]:
    """Every other request is refused, as a full server does."""
    busy = parts(b"HTTP/1.1 429 Too Many\r\ncontent-length: 2\r\n\r\n{}")
    async with scripted([ok(), *[busy, ok()] * 200]) as server:
        yield server


async def test_refusals_are_counted_by_their_status_and_traces_may_be_missing() -> None:
    async with refusing() as server:
        given = load(f"http://127.0.0.1:{server.port}", ClosedLoop(1), count=100)
        result = await asyncio.to_thread(run_load, given)
    assert result.errors == {"HTTP 429": 50}
    assert len(result.answered) == 50
    assert result.summary()["stages_ms"] == {}
    assert result.summary()["batch_size_mean"] is None
