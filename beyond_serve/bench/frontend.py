"""`beyond-bench frontend`: what our front ends cost beside the barest servers of their kind.

Ours goes the whole way, admission, queue, batcher, trace and JSON reply, with the null: engine; the
others only read the body (aiohttp) or echo the message (grpc.aio). Servers on one core, load on
another; contenders take turns in every round, medians are compared.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
from collections.abc import Iterator

from rich.progress import Progress

from beyond_serve.bench.grpc_load import run_grpc_load
from beyond_serve.bench.processes import ServerProcess, beyond_serve_command, free_port, started
from beyond_serve.bench.report import Result, Verdict
from beyond_serve.bench.wrk import run_wrk

SIZES = {"4 kB": 4_000, "121 kB": 121_000}
ASKED_HTTP = {"4 kB": 2.0, "121 kB": 1.5}
ASKED_GRPC = 0.6
SERVER_CORE, LOAD_CORE = 0, 1

Run = tuple[float, int, int, float]
"""requests/s, p50 and p99 in microseconds, the server's CPU in microseconds per request."""


def run(rounds: int, seconds: float, connections: int, progress: Progress) -> Result:
    """Measure and compare."""
    result = Result(
        "frontend",
        ("contender", "body", "requests/s", "p50 us", "p99 us", "CPU us/request", "ratio", "CPU ratio"),
    )
    result.notes.append(
        f"{rounds} interleaved rounds of {seconds:g} s, {connections} connections, server on core "
        f"{SERVER_CORE}, load (wrk; for gRPC a grpc.aio client) on core {LOAD_CORE}; medians"
    )
    with contextlib.ExitStack() as stack:
        _http(stack, result, rounds, seconds, connections, progress)
    with contextlib.ExitStack() as stack:
        _grpc(stack, result, rounds, seconds, connections, progress)
    return result


def _servers(stack: contextlib.ExitStack, baseline: str, scheme: str) -> Iterator[ServerProcess]:
    ours, grpc, theirs = free_port(), free_port(), free_port()
    port = ours if scheme == "http" else grpc
    yield stack.enter_context(
        started(
            "beyond-serve",
            beyond_serve_command(
                *("--model", "null:", "--http", f"127.0.0.1:{ours}", "--grpc", f"127.0.0.1:{grpc}")
            ),
            f"http://127.0.0.1:{port}/predict" if scheme == "http" else f"127.0.0.1:{port}",
            f"http://127.0.0.1:{ours}/healthz",
            [SERVER_CORE],
        )
    )
    probe = f"http://127.0.0.1:{theirs}/" if scheme == "http" else f"http://127.0.0.1:{ours}/healthz"
    yield stack.enter_context(
        started(
            baseline,
            [sys.executable, "-m", "beyond_serve.bench.baselines", baseline, str(theirs)],
            f"http://127.0.0.1:{theirs}/predict" if scheme == "http" else f"127.0.0.1:{theirs}",
            probe,
            [SERVER_CORE],
        )
    )


def _http(
    stack: contextlib.ExitStack,
    result: Result,
    rounds: int,
    seconds: float,
    connections: int,
    progress: Progress,
) -> None:
    servers = list(_servers(stack, "aiohttp", "http"))
    task = progress.add_task("HTTP", total=rounds * len(SIZES) * len(servers))
    for size, length in SIZES.items():
        body = b"\xff\xd8" + bytes(length - 2)
        runs: dict[str, list[Run]] = {server.name: [] for server in servers}
        for _ in range(rounds):
            for server in servers:
                before = server.cpu_seconds()
                run = run_wrk(server.url, body, connections=connections, seconds=seconds, core=LOAD_CORE)
                if run.errors:
                    result.notes.append(f"{server.name}, {size}: {run.errors} errors")
                cpu_us = (server.cpu_seconds() - before) / run.requests * 1e6
                runs[server.name].append((run.rate, run.p50_us, run.p99_us, cpu_us))
                progress.advance(task)
        ratio = _compare(result, size, runs)
        asked = ASKED_HTTP[size]
        result.verdicts.append(
            Verdict(f"HTTP {size}, times aiohttp", f">= {asked:g}", f"{ratio:.2f}", ratio >= asked)
        )


def _grpc(
    stack: contextlib.ExitStack,
    result: Result,
    rounds: int,
    seconds: float,
    connections: int,
    progress: Progress,
) -> None:
    servers = list(_servers(stack, "grpc-echo", "grpc"))
    task = progress.add_task("gRPC", total=rounds * len(servers))
    runs: dict[str, list[Run]] = {server.name: [] for server in servers}
    for _ in range(rounds):
        for server in servers:
            before = server.cpu_seconds()
            rate, p50, p99 = run_grpc_load(server.url, bytes(4_000), connections, seconds, LOAD_CORE)
            cpu_us = (server.cpu_seconds() - before) / (rate * seconds) * 1e6
            runs[server.name].append((rate, p50, p99, cpu_us))
            progress.advance(task)
    ratio = _compare(result, "4 kB gRPC", runs)
    result.verdicts.append(
        Verdict("gRPC, times a bare echo", f">= {ASKED_GRPC:g}", f"{ratio:.2f}", ratio >= ASKED_GRPC)
    )


def _compare(result: Result, size: str, runs: dict[str, list[Run]]) -> float:
    """Add a row per contender; the ratio of ours (first) to the other."""
    medians = {
        name: tuple(statistics.median(values) for values in zip(*found, strict=True))
        for name, found in runs.items()
    }
    ours, theirs = list(medians)
    # Of rounds and not of medians: what else the machine does changes from round to round.
    ratio = statistics.median(a[0] / b[0] for a, b in zip(runs[ours], runs[theirs], strict=True))
    cpu = statistics.median(b[3] / a[3] for a, b in zip(runs[ours], runs[theirs], strict=True))
    for name, (rate, p50, p99, cpu_us) in medians.items():
        ratios = (ratio, cpu) if name == ours else (1.0, 1.0)
        result.rows.append((name, size, rate, p50, p99, cpu_us, *ratios))
    return ratio
