"""From the workers' rows to the result: which requests count, over which time, and whether it is valid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from beyond_serve.bench.load.arrivals import ClosedLoop
from beyond_serve.bench.load.breakdown import negative_networks
from beyond_serve.bench.load.error_kinds import NAMES, NO_CONNECTION
from beyond_serve.bench.load.result import LoadResult, Window
from beyond_serve.bench.load.spec import LoadSpec
from beyond_serve.bench.load.table import RequestTable, WorkerRows, read_table
from beyond_serve.bench.load.validity import Facts, void_reasons
from beyond_serve.bench.load.workers import WorkerProcess


def collect(
    spec: LoadSpec, workers: Sequence[WorkerProcess], start_ns: int, *, interrupted: bool
) -> LoadResult:
    """The result of workers that have ended, or of which no more is expected."""
    table, names = read_table(
        [
            WorkerRows(worker.rows, worker.plan.choices, [len(body) for body in worker.plan.wire.payloads])
            for worker in workers
        ],
        start_ns,
        grpc=workers[0].plan.wire.is_grpc,
    )
    reports = [worker.report or {} for worker in workers]
    trouble = tuple(reason for worker in workers for reason in _trouble(worker, interrupted=interrupted))
    return judged(
        spec,
        table,
        names,
        thread_cpu=tuple(float(report.get("thread_cpu", 0.0)) for report in reports),
        waiting=tuple(float(report.get("waiting", 0.0)) for report in reports),
        one_core_cpu=max(
            (
                report.get("process_cpu", 0.0)
                for report, worker in zip(reports, workers, strict=True)
                if worker.plan.core is not None
            ),
            default=0.0,
        ),
        trouble=trouble,
        interrupted=interrupted,
    )


def _trouble(worker: WorkerProcess, *, interrupted: bool) -> list[str]:
    if worker.report is None:
        return [] if interrupted and not worker.ended else [f"a worker died: {worker.last_words()}"]
    found = []
    if worker.report["gave_up"]:
        found.append("the run ended early: the server could not be reached for 10 s")
    if worker.report["full"]:
        found.append("the run ended early: a worker's table was full; use more workers or a shorter run")
    return found


def judged(
    spec: LoadSpec,
    table: RequestTable,
    names: tuple[str, ...],
    *,
    thread_cpu: tuple[float, ...],
    waiting: tuple[float, ...] = (),
    one_core_cpu: float = 0.0,
    trouble: tuple[str, ...] = (),
    interrupted: bool = False,
) -> LoadResult:
    """The result of a table: the measured rows marked, the checks made."""
    window = measured_window(spec, table, cut_short=interrupted or bool(trouble))
    table = replace(table, measured=measured_rows(spec, table, window))
    result = LoadResult(
        spec=spec,
        table=table,
        error_names=names,
        window=window,
        cpu=thread_cpu,
        waiting=waiting,
        littles_law_error=littles_law_error(spec, table, names, window),
        void=(),
        interrupted=interrupted,
    )
    measured, answered = result.measured, result.answered
    facts = Facts(
        measured=len(measured),
        answered=len(answered),
        cpu=max(thread_cpu, default=0.0),
        one_core_cpu=one_core_cpu,
        waiting=max(waiting, default=0.0),
        lateness_p99_ms=result.lateness_ms["p99"],
        median_ms=float(np.median(answered.latency_from_send_ns)) / 1e6 if len(answered) else None,
        littles_law_error=result.littles_law_error,
        negative_networks=negative_networks(answered),
        trouble=trouble,
    )
    return replace(result, void=void_reasons(facts))


def measured_window(spec: LoadSpec, table: RequestTable, *, cut_short: bool) -> Window:
    """From the end of the warm-up to the end that the specification names; to the last answer if a count
    ends it, or if the run did not get that far."""
    start = round(spec.warmup_s * 1e9)
    last = int(table.received_ns.max(initial=start))
    if spec.duration_s is None:
        return Window(start, last)
    end = start + round(spec.duration_s * 1e9)
    return Window(start, min(end, last) if cut_short or spec.count is not None else end)


def measured_rows(
    spec: LoadSpec, table: RequestTable, window: Window
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """An open load, and a counted one: what was scheduled in the measured time, whenever it ended. A closed
    loop for a time: what ended in it, for what it would have offered had it gone on is unknown."""
    if spec.is_closed and spec.count is None:
        return (table.received_ns >= window.start_ns) & (table.received_ns <= window.end_ns)
    return table.scheduled_ns >= window.start_ns


def littles_law_error(
    spec: LoadSpec, table: RequestTable, names: tuple[str, ...], window: Window
) -> float | None:
    """Mean latency times throughput over the concurrency, less 1.

    Over everything that ended in the window, errors too, latency from the schedule. It is not zero by
    construction: requests that began before the window count whole, those that end after it not at all,
    and only in a steady run do the two cancel. A run too short for its latency fails, and so does one
    that lost requests.
    """
    if not isinstance(spec.arrivals, ClosedLoop) or spec.arrivals.samples > 1:
        return None
    unreachable = {NAMES[kind] for kind in NO_CONNECTION}
    if any(names[index] in unreachable for index in np.unique(table.error)):
        return None
    # A counted run ends with fewer and fewer in flight: only until the last one left are all places taken.
    end = window.end_ns if spec.count is None else min(window.end_ns, int(table.scheduled_ns.max(initial=0)))
    inside = (table.received_ns >= window.start_ns) & (table.received_ns <= end)
    if end <= window.start_ns or not inside.any():
        return None
    mean_in_flight = float(table.latency_ns[inside].sum()) / (end - window.start_ns)
    return mean_in_flight / spec.arrivals.concurrency - 1
