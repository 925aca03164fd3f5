"""`beyond-bench tracecost`: what tracing every request costs, as a share of throughput.

The same server twice, once with stamps, histograms and reports as always, once with none of them:
`untraced` below takes them out. Both take turns in every round.
"""

from __future__ import annotations

import statistics
import sys

from rich.progress import Progress

from beyond_serve.bench.processes import beyond_serve_command, free_port, started
from beyond_serve.bench.report import Result, Verdict
from beyond_serve.bench.wrk import run_wrk

ASKED = 0.03
SERVER_CORE, LOAD_CORE = 0, 1


def untraced() -> None:
    """Run beyond-serve with recording taken out: the control, and good for nothing else."""
    from beyond_serve.server import main, metrics

    made = metrics.StageHistograms.__init__

    def without_record(self: metrics.StageHistograms) -> None:
        made(self)
        self.record = lambda _trace: None

    setattr(metrics.StageHistograms, "__init__", without_record)  # noqa: B010 - a control
    main.main()


def run(rounds: int, seconds: float, connections: int, progress: Progress) -> Result:
    """Measure with the null: engine, 4 kB bodies: the case in which it weighs most."""
    result = Result("tracecost", ("server", "requests/s", "p50 us"))
    ports = free_port(), free_port()
    control = [sys.executable, "-c", "from beyond_serve.bench.tracecost import untraced; untraced()"]
    body = b"\xff\xd8" + bytes(3998)
    rates: dict[str, list[float]] = {"traced": [], "untraced": []}
    medians: dict[str, list[int]] = {"traced": [], "untraced": []}

    def arguments(port: int) -> list[str]:
        return ["--model", "null:", "--http", f"127.0.0.1:{port}", "--grpc", "off"]

    def url(port: int) -> tuple[str, str]:
        return f"http://127.0.0.1:{port}/predict", f"http://127.0.0.1:{port}/healthz"

    with (
        started(
            "traced", beyond_serve_command(*arguments(ports[0])), *url(ports[0]), [SERVER_CORE]
        ) as traced,
        started("untraced", [*control, *arguments(ports[1])], *url(ports[1]), [SERVER_CORE]) as bare,
    ):
        task = progress.add_task("trace cost", total=2 * rounds)
        for _ in range(rounds):
            for server in (traced, bare):
                run = run_wrk(server.url, body, connections=connections, seconds=seconds, core=LOAD_CORE)
                rates[server.name].append(run.rate)
                medians[server.name].append(run.p50_us)
                progress.advance(task)
    for name, found in rates.items():
        result.rows.append((name, statistics.median(found), statistics.median(medians[name])))
    cost = 1 - statistics.median(t / u for t, u in zip(rates["traced"], rates["untraced"], strict=True))
    result.verdicts.append(
        Verdict("tracing's share of throughput", f"<= {ASKED:.0%}", f"{cost:.1%}", cost <= ASKED)
    )
    result.notes.append(f"{rounds} interleaved rounds of {seconds:g} s, median of the rounds' ratios")
    return result
