"""`beyond-bench soak`: does memory stay flat, in calm and under overload."""

from __future__ import annotations

from rich.progress import Progress

from beyond_serve.bench.images import SMALL, paper_image
from beyond_serve.bench.processes import ServerProcess, beyond_serve_command, free_port, started
from beyond_serve.bench.report import Result, Verdict
from beyond_serve.bench.wrk import run_wrk

ASKED_GROWTH = 0.05
WARM_UP = 0.1
MIB = 1024 * 1024


def run(model: str, requests: int, progress: Progress) -> Result:
    """Send at least `requests` after a warm-up of a tenth; once in calm, once with the queue full."""
    result = Result("soak", ("load", "requests", "refused", "MiB warm", "MiB end", "growth"))
    for load, connections, queue in (("calm", 32, 1024), ("overload", 512, 64)):
        port = free_port()
        address = ("--http", f"127.0.0.1:{port}", "--grpc", "off")
        command = beyond_serve_command("--model", f"m={model}", "--max-queue", str(queue), *address)
        base = f"http://127.0.0.1:{port}"
        with started("beyond-serve", command, f"{base}/predict", f"{base}/healthz") as server:
            _soak(result, server, load, connections, requests, progress)
    result.notes.append(f"model {model}, small images; growth of resident memory after a warm-up of 10 %")
    return result


def _soak(
    result: Result, server: ServerProcess, load: str, connections: int, requests: int, progress: Progress
) -> None:
    body = paper_image(SMALL)
    task = progress.add_task(load, total=requests * (1 + WARM_UP))
    sent = refused = 0

    def send(until: float) -> None:
        nonlocal sent, refused
        while sent < until:
            run = run_wrk(server.url, body, connections=connections, seconds=5)
            sent += run.requests
            refused += run.errors
            progress.update(task, completed=sent)

    send(requests * WARM_UP)
    warm = server.memory_bytes()
    sent = refused = 0
    send(requests)
    end = server.memory_bytes()
    growth = end / warm - 1
    result.rows.append((load, sent, refused, warm / MIB, end / MIB, f"{growth:+.1%}"))
    result.verdicts.append(
        Verdict(f"memory growth, {load}", f"< {ASKED_GROWTH:.0%}", f"{growth:+.1%}", growth < ASKED_GROWTH)
    )
