"""`beyond-bench whole`: the whole server with an emulated accelerator, beside mosec doing the same.

JPEG in, top-5 JSON out; server and load share the same cores; contenders take turns in every round.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import statistics
import sys
import tempfile
from pathlib import Path

from rich.progress import Progress

from beyond_serve.bench.images import MEDIUM, SMALL, paper_image
from beyond_serve.bench.processes import ServerProcess, beyond_serve_command, free_port, started
from beyond_serve.bench.report import Result, Verdict
from beyond_serve.bench.wrk import run_wrk

TABLE = {
    "name": "bench",
    "input": [224, 224, 3],
    "classes": 1000,
    "latency_ms": {"1": 3.5, "8": 6.8, "32": 18.0},
}
TABLE_LARGEST_BATCH_S = 0.018
LIBRARIES, CORE = "beyond-serve, libraries", "beyond-serve, native core"
OURS = {LIBRARIES: "fast", CORE: "exact"}
# Triton 2.51 with a Python backend beside mosec, both measured on a machine like ours (965 and 870
# requests/s, small). Triton cannot be installed everywhere, so its figure is carried over by this ratio.
TRITON_OVER_MOSEC_SMALL = 965 / 870


def run(rounds: int, seconds: float, connections: int, progress: Progress) -> Result:
    """Measure and compare."""
    result = Result("whole", ("server", "image", "requests/s", "p50 ms", "p99 ms", "times mosec"))
    result.notes.append(
        f"{rounds} interleaved rounds of {seconds:g} s, {connections} connections, wrk on the same cores; "
        f"sim: {json.dumps(TABLE['latency_ms'])} ms, max batch 32, delay 2 ms; medians"
    )
    images = {"small": paper_image(SMALL), "medium": paper_image(MEDIUM)}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        table = Path(folder, "bench.json")
        table.write_text(json.dumps(TABLE))
        servers = _start(stack, table)
        task = progress.add_task("whole", total=rounds * len(images) * len(servers))
        rates: dict[tuple[str, str], float] = {}
        for size, body in images.items():
            found: dict[str, list[tuple[float, float, float]]] = {server.name: [] for server in servers}
            for _ in range(rounds):
                for server in servers:
                    run = run_wrk(server.url, body, connections=connections, seconds=seconds)
                    if run.errors:
                        result.notes.append(f"{server.name}, {size}: {run.errors} errors")
                    found[server.name].append((run.rate, run.p50_us / 1000, run.p99_us / 1000))
                    progress.advance(task)
            for name, runs in found.items():
                rate, p50, p99 = (statistics.median(values) for values in zip(*runs, strict=True))
                rates[name, size] = rate
                times = rate / rates["mosec", size] if ("mosec", size) in rates else "-"
                result.rows.append((name, size, rate, p50, p99, times))
    _judge(result, rates)
    return result


def without_core() -> None:
    """Run beyond-serve as where the native core could not be built."""
    from beyond_serve.preprocess import native
    from beyond_serve.server import main

    setattr(native, "available", lambda: False)  # noqa: B010 - a control
    main.main()


def _start(stack: contextlib.ExitStack, table: Path) -> list[ServerProcess]:
    servers = []
    if importlib.util.find_spec("mosec") is not None:
        port = free_port()
        command = [sys.executable, "-m", "beyond_serve.bench.rivals.mosec_app", "--port", str(port)]
        url = f"http://127.0.0.1:{port}"
        servers.append(
            stack.enter_context(
                started("mosec", [*command, "--timeout", "10000"], f"{url}/inference", f"{url}/metrics")
            )
        )
    for name, fidelity in OURS.items():
        port = free_port()
        arguments = ("--model", f"sim:{table}", "--fidelity", fidelity, "--max-delay-us", "2000")
        command = beyond_serve_command(*arguments, "--http", f"127.0.0.1:{port}", "--grpc", "off")
        if name == LIBRARIES:
            code = "from beyond_serve.bench.whole import without_core; without_core()"
            command[1:3] = ["-c", code]
        url = f"http://127.0.0.1:{port}"
        servers.append(
            stack.enter_context(started(name, command, f"{url}/predict?top_k=5", f"{url}/healthz"))
        )
    return servers


def _judge(result: Result, rates: dict[tuple[str, str], float]) -> None:
    if ("mosec", "small") not in rates:
        result.notes.append("mosec is not installed (pip install mosec): nothing to compare with")
        return
    ceiling = 32 / TABLE_LARGEST_BATCH_S
    result.notes.append(
        f"the emulated accelerator itself allows {ceiling:,.0f} requests/s; small reaches "
        f"{rates[CORE, 'small'] / ceiling:.0%} of it"
    )
    for name, asked in ((LIBRARIES, 1.15), (CORE, 1.6)):
        times = rates[name, "medium"] / rates["mosec", "medium"]
        result.verdicts.append(
            Verdict(f"medium, {name}, times mosec", f">= {asked}", f"{times:.2f}", times >= asked)
        )
    small = rates[LIBRARIES, "small"] / (rates["mosec", "small"] * TRITON_OVER_MOSEC_SMALL)
    result.verdicts.append(
        Verdict("small, times Triton (by its ratio to mosec)", ">= 1.5", f"{small:.2f}", small >= 1.5)
    )
