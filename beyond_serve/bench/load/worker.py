"""One worker process. Run as a module: `python -m beyond_serve.bench.load.worker DESCRIPTOR`.

Standard input: eight bytes of length, the pickled `WorkerPlan`, then lines: `start NANOSECONDS`, `stop`.
Its end means that the parent is gone. Standard output: one JSON object a line: `ready`, at last `done`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import pickle
import signal
import sys
import time
from typing import Any

import orjson

from beyond_serve.bench.load.cpu_meter import CpuMeter
from beyond_serve.bench.load.drive import ClosedDriver, Driver, OpenDriver
from beyond_serve.bench.load.plan import WorkerPlan
from beyond_serve.bench.load.recorder import Recorder
from beyond_serve.bench.load.rows import Rows
from beyond_serve.bench.load.wire import Wire

_STDIN, _STDOUT = 0, 1
_GRACE_S = 1.0
_SWEEP_S = 0.1
_OPEN_AT_START = 16
"""Connections of an open load before it begins. The rest is made as it is needed."""


class Control:
    """The parent's lines, as events. The loop reads them; nobody polls."""

    def __init__(self, descriptor: int = _STDIN) -> None:
        self._descriptor = descriptor
        self._text = b""
        self.started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.stopped = asyncio.Event()
        self.orphaned = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    def _read(self) -> None:
        data = os.read(self._descriptor, 4096)
        if not data:
            self.close()
            self.orphaned.set()
            self.stopped.set()
            if not self.started.done():
                self.started.cancel()
            return
        *lines, self._text = (self._text + data).split(b"\n")
        for line in lines:
            if line.startswith(b"start "):
                self.started.set_result(int(line[6:]))
            elif line == b"stop":
                self.stopped.set()

    def close(self) -> None:
        with contextlib.suppress(ValueError):
            asyncio.get_running_loop().remove_reader(self._descriptor)


def make_wire(plan: WorkerPlan, recorder: Recorder, driver_of: list[Driver]) -> Wire:
    """The plan's wire. `driver_of` is filled with the wire's driver afterwards: each needs the other."""

    def ended(
        row: int, received_ns: int, status: int, kind: int, bytes_in: int, document: bytes | None
    ) -> None:
        driver_of[0].ended(row, received_ns, status, kind, bytes_in, document)

    if plan.wire.is_grpc:
        from beyond_serve.bench.load.grpc_wire import GrpcWire

        return GrpcWire(plan.wire, ended, recorder.sent)
    from beyond_serve.bench.load.http_wire import HttpWire

    return HttpWire(plan.wire, ended, recorder.sent)


async def drive(plan: WorkerPlan, rows: Rows, control: Control) -> dict[str, Any]:
    """The whole of a worker's run. What `done` says."""
    loop = asyncio.get_running_loop()
    recorder = Recorder(rows, traced=plan.wire.traced)
    drivers: list[Driver] = []
    wire = make_wire(plan, recorder, drivers)
    driver = (ClosedDriver if plan.arrivals is None else OpenDriver)(plan, recorder, wire)
    drivers.append(driver)
    await wire.open(plan.concurrency * plan.samples or _OPEN_AT_START)
    _say({"state": "ready"})
    start_ns = await control.started
    _settle()
    meter = CpuMeter()
    driver.start(start_ns)
    _call_at(loop, start_ns + plan.warmup_ns, meter.mark)
    if plan.end_ns is not None:
        _call_at(loop, start_ns + plan.end_ns, meter.mark)
    sweep = loop.create_task(_sweep(wire))
    stop = loop.create_task(_stop_when_told(control, driver, wire))
    await driver.finished
    for task in (sweep, stop):
        task.cancel()
    cpu = meter.shares()
    await wire.close()
    return {
        "state": "done",
        "thread_cpu": cpu.thread,
        "process_cpu": cpu.process,
        "waiting": cpu.waiting,
        "gave_up": driver.gave_up,
        "full": driver.full,
    }


def _settle() -> None:
    """What is alive now stays: the collector need not look at it again, nor stop the generator often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _call_at(loop: asyncio.AbstractEventLoop, when_ns: int, call: Any) -> None:
    loop.call_later(max(0, when_ns - time.monotonic_ns()) / 1e9, call)


async def _sweep(wire: Wire) -> None:
    while True:
        await asyncio.sleep(_SWEEP_S)
        wire.expire(time.monotonic_ns())


async def _stop_when_told(control: Control, driver: Driver, wire: Wire) -> None:
    await control.stopped.wait()
    driver.stop()
    if not control.orphaned.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(control.orphaned.wait(), _GRACE_S)
    wire.abandon()


def _say(message: dict[str, Any]) -> None:
    line = orjson.dumps(message) + b"\n"
    with contextlib.suppress(BrokenPipeError):
        while line:
            line = line[os.write(_STDOUT, line) :]


def _read_exactly(count: int) -> bytes:
    parts = []
    while count:
        part = os.read(_STDIN, min(count, 1 << 20))
        if not part:
            sys.exit("the parent is gone")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


async def _main(plan: WorkerPlan, rows: Rows) -> None:
    control = Control()
    try:
        _say(await drive(plan, rows, control))
    except asyncio.CancelledError:
        if not control.orphaned.is_set():
            raise
    finally:
        control.close()


def main() -> None:
    # Ctrl-C goes to the whole group of processes; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Written by our own parent, to our standard input.
    plan: WorkerPlan = pickle.loads(_read_exactly(int.from_bytes(_read_exactly(8), "little")))  # noqa: S301
    if plan.core is not None:
        os.sched_setaffinity(0, {plan.core})
    rows = Rows(int(sys.argv[1]), plan.capacity, traced=plan.wire.traced)
    try:
        import uvloop
    except ImportError:
        asyncio.run(_main(plan, rows))
    else:
        uvloop.run(_main(plan, rows))


if __name__ == "__main__":
    main()
