"""`beyond-bench loadcheck`: can the load generator be believed?

Its ceiling, its lateness, its agreement with wrk, and whether it sees a server that stands still. Server on
one core, generator on another, where there are two.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import Progress

from beyond_serve.bench.images import SMALL, paper_image
from beyond_serve.bench.load import (
    Arrivals,
    ClosedLoop,
    ConstantRate,
    LoadResult,
    LoadSpec,
    MixImage,
    Poisson,
    Target,
    run_load,
)
from beyond_serve.bench.load.spec import available_core_numbers
from beyond_serve.bench.processes import ServerProcess, beyond_serve_command, free_port, started
from beyond_serve.bench.report import Result, Verdict
from beyond_serve.bench.wrk import run_wrk

ASKED_CEILING, ASKED_LATENESS_MS = 15_000, 1.0
ASKED_RATE, ASKED_MEDIAN = 0.05, 0.10
CONNECTIONS, AGREEMENT_CONNECTIONS = 64, 16
STALL_RATE, STALL_S, STALL_AT_S, STALL_RUN_S = 500, 1.0, 4.0, 10.0
_SIM = {"name": "agreement", "input": [32, 32, 3], "classes": 10, "latency_ms": {"1": 5.0, "16": 5.0}}


def run(rounds: int, seconds: float, progress: Progress) -> Result:
    """Measure and judge. Without wrk, agreement is left out and said so."""
    cores = available_core_numbers()
    server_core, load_core = (cores[0], cores[-1]) if len(cores) > 1 else (None, None)
    result = Result(
        "loadcheck",
        ("what", "generator", "requests/s", "p50 ms", "p99 ms", "late p99 ms", "generator CPU", "errors"),
    )
    result.notes.append(
        f"{rounds} rounds of {seconds:g} s, medians; server on core {server_core}, generator on {load_core}"
    )
    task = progress.add_task("load generator", total=4 * rounds + 1)
    check = _Check(result, seconds, load_core, lambda: progress.advance(task))
    with _server("null:", server_core) as server:
        check.ceiling(server, rounds)
        check.lateness(server, rounds)
        check.stall(server)
    with _simulated() as model, _server(model, server_core) as server:
        check.agreement(server, rounds)
    return result


@contextmanager
def _server(model: str, core: int | None) -> Iterator[ServerProcess]:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    command = beyond_serve_command("--model", model, "--http", f"127.0.0.1:{port}", "--grpc", "off")
    cores = None if core is None else [core]
    with started("beyond-serve", command, base, f"{base}/healthz", cores) as server:
        yield server


@contextmanager
def _simulated() -> Iterator[str]:
    """A model of 5 ms: neither generator is near its limit, so they must see the same."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "table.json")
        path.write_text(json.dumps(_SIM))
        yield f"sim:{path}"


@contextmanager
def _stopped_once(pid: int) -> Iterator[Callable[[object], None]]:
    """Stops a process for STALL_S, STALL_AT_S after the first call of what it yields; it runs again after."""
    timers = [
        threading.Timer(STALL_AT_S, os.kill, (pid, signal.SIGSTOP)),
        threading.Timer(STALL_AT_S + STALL_S, os.kill, (pid, signal.SIGCONT)),
    ]
    waiting = list(timers)

    def begin(_progress: object) -> None:
        while waiting:
            waiting.pop().start()

    try:
        yield begin
    finally:
        for timer in timers:
            timer.cancel()
        os.kill(pid, signal.SIGCONT)


class _Check:
    """The measurements, each a row or two and a verdict."""

    def __init__(self, result: Result, seconds: float, core: int | None, advance: Callable[[], None]) -> None:
        self._result, self._seconds, self._core, self._advance = result, seconds, core, advance

    def _load(self, server: ServerProcess, arrivals: Arrivals, body: bytes, **options: Any) -> LoadResult:
        spec = LoadSpec(
            Target(server.url),
            arrivals,
            (MixImage("body", body, 1.0),),
            **{"duration_s": self._seconds, "warmup_s": 0.5, "traces": False, **options},
            cores=() if self._core is None else (self._core,),
        )
        result = run_load(spec)
        self._advance()
        return result

    def _row(self, what: str, runs: list[LoadResult]) -> dict[str, float]:
        summaries = [run.summary() for run in runs]

        def median(*path: str) -> float:
            values = []
            for found in summaries:
                value: Any = found
                for key in path:
                    value = value[key]
                values.append(float(value) if value is not None else float("nan"))
            return statistics.median(values)

        row = {
            "rate": median("throughput_per_s"),
            "p50": median("latency_ms", "p50"),
            "p99": median("latency_ms", "p99"),
            "late": median("lateness_ms", "p99"),
            "cpu": median("generator_cpu"),
        }
        errors = sum(sum(run.errors.values()) for run in runs)
        self._result.rows.append((what, "beyond-bench", *row.values(), errors))
        void = {reason for run in runs for reason in run.void}
        self._result.notes += [f"{what}: void: {reason}" for reason in sorted(void)]
        return row

    def ceiling(self, server: ServerProcess, rounds: int) -> None:
        """The fastest closed loop against a server that does nothing."""
        body = b"\xff\xd8" + bytes(3998)
        row = self._row(
            "null:, closed loop of 64, 4 kB",
            [self._load(server, ClosedLoop(CONNECTIONS), body) for _ in range(rounds)],
        )
        self._verdict(
            "closed loop, 4 kB",
            f">= {ASKED_CEILING:,}/s",
            f"{row['rate']:,.0f}/s",
            row["rate"] >= ASKED_CEILING,
        )

    def lateness(self, server: ServerProcess, rounds: int) -> None:
        body = b"\xff\xd8" + bytes(3998)
        row = self._row(
            "null:, Poisson 2,000/s, 4 kB", [self._load(server, Poisson(2000), body) for _ in range(rounds)]
        )
        self._verdict(
            "lateness p99 at 2,000/s Poisson",
            f"< {ASKED_LATENESS_MS:g} ms",
            f"{row['late']:.3f} ms",
            row["late"] < ASKED_LATENESS_MS,
        )

    def stall(self, server: ServerProcess) -> None:
        """The server's process is stopped for a second; one connection, as a naive client would have."""
        spec = LoadSpec(
            Target(server.url),
            ConstantRate(STALL_RATE),
            (MixImage("body", b"\xff\xd8" + bytes(3998), 1.0),),
            duration_s=STALL_RUN_S,
            traces=False,
            max_connections=1,
            cores=() if self._core is None else (self._core,),
        )
        with _stopped_once(server.process.pid) as begin:
            summary: dict[str, Any] = run_load(spec, begin).summary()
        self._advance()
        seen, sent = summary["latency_ms"], summary["latency_from_send_ms"]
        for name, latency in (("from the schedule", seen), ("from the send", sent)):
            what = f"stopped for 1 s at 500/s, {name}"
            figures = (summary["throughput_per_s"], latency["p50"], latency["p99"])
            self._result.rows.append((what, "beyond-bench", *figures, "", "", ""))
        self._verdict(
            "p99.9 of a server stopped for 1 s",
            "900 to 1,100 ms",
            f"{seen['p99.9']:,.0f} ms; from the send {sent['p99.9']:,.1f} ms",
            900 <= seen["p99.9"] <= 1100,
        )

    def agreement(self, server: ServerProcess, rounds: int) -> None:
        """The same closed loop by wrk, round by round."""
        if shutil.which("wrk") is None:
            self._result.notes.append("wrk is not installed: agreement not measured (apt-get install wrk)")
            return
        body = paper_image(SMALL)
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(self._load(server, ClosedLoop(AGREEMENT_CONNECTIONS), body))
            theirs.append(
                run_wrk(
                    f"{server.url}/predict",
                    body,
                    connections=AGREEMENT_CONNECTIONS,
                    seconds=self._seconds,
                    core=self._core,
                )
            )
            self._advance()
        self._row("sim: of 5 ms, closed loop of 16", ours)
        rate = statistics.median(run.rate for run in theirs)
        p50, p99 = (statistics.median(getattr(run, f"p{n}_us") for run in theirs) / 1e3 for n in (50, 99))
        errors = sum(run.errors for run in theirs)
        self._result.rows.append(("sim: of 5 ms, closed loop of 16", "wrk", rate, p50, p99, "", "", errors))
        # Of each round: what else the machine does changes from round to round.
        rates = [a.throughput_per_s / b.rate - 1 for a, b in zip(ours, theirs, strict=True)]
        medians = [_p50_ms(a) / (b.p50_us / 1e3) - 1 for a, b in zip(ours, theirs, strict=True)]
        for what, asked, found in (
            ("throughput beside wrk's", ASKED_RATE, statistics.median(rates)),
            ("median latency beside wrk's", ASKED_MEDIAN, statistics.median(medians)),
        ):
            self._verdict(what, f"within {asked:.0%}", f"{found:+.1%}", abs(found) <= asked)

    def _verdict(self, what: str, asked: str, measured: str, met: bool) -> None:
        self._result.verdicts.append(Verdict(what, asked, measured, met))


def _p50_ms(run: LoadResult) -> float:
    latency = run.summary()["latency_ms"]
    assert isinstance(latency, dict)
    return float(latency["p50"])
