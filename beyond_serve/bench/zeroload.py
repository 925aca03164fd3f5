"""`beyond-bench zeroload`: one request at a time, where does its time go (Beyond, Fig. 6).

Overhead is what is neither decode, transform nor infer: receiving, crossing threads, batching,
ranking, replying.
"""

from __future__ import annotations

import http.client
import json
import statistics

from rich.progress import Progress

from beyond_serve.batching import STAGES
from beyond_serve.bench.images import LARGE, MEDIUM, SMALL, paper_image
from beyond_serve.bench.processes import beyond_serve_command, free_port, started
from beyond_serve.bench.report import Result, Verdict

ASKED_OVERHEAD_US = 600
_WORK = ("decode", "transform", "infer")


def run(model: str, requests: int, fidelity: str, progress: Progress) -> Result:
    """Send `requests` of each size to `model`, one after the other."""
    result = Result("zeroload", ("stage (median us)", "small", "medium", "large"))
    port = free_port()
    command = beyond_serve_command(
        *("--model", f"m={model}", "--fidelity", fidelity, "--http", f"127.0.0.1:{port}", "--grpc", "off")
    )
    base = f"http://127.0.0.1:{port}"
    columns: dict[str, dict[str, float]] = {}
    with started("beyond-serve", command, base, f"{base}/healthz"):
        task = progress.add_task("zero load", total=3 * requests)
        for size, spec in (("small", SMALL), ("medium", MEDIUM), ("large", LARGE)):
            body = paper_image(spec)
            traces = []
            connection = http.client.HTTPConnection("127.0.0.1", port)
            for _ in range(requests):
                connection.request("POST", "/predict?trace=1", body)
                traces.append(json.loads(connection.getresponse().read())["trace"])
                progress.advance(task)
            connection.close()
            columns[size] = _medians(traces[requests // 10 :])
    for name in (*STAGES, "total", "overhead"):
        result.rows.append((name, *(columns[size][name] for size in columns)))
    overhead = columns["medium"]["overhead"]
    result.verdicts.append(
        Verdict(
            "medium: total minus decode, transform and infer",
            f"<= {ASKED_OVERHEAD_US} us",
            f"{overhead:.0f} us",
            overhead <= ASKED_OVERHEAD_US,
        )
    )
    result.notes.append(
        f"model {model}, fidelity {fidelity}, {requests} requests of each size, one connection"
    )
    return result


def _medians(traces: list[dict[str, object]]) -> dict[str, float]:
    def stages(trace: dict[str, object]) -> dict[str, float]:
        spans = trace["stages_us"]
        assert isinstance(spans, dict)
        return spans

    medians = {name: statistics.median(stages(trace)[name] for trace in traces) for name in STAGES}
    totals = [float(str(trace["total_us"])) for trace in traces]
    medians["total"] = statistics.median(totals)
    medians["overhead"] = statistics.median(
        total - sum(stages(trace)[name] for name in _WORK)
        for total, trace in zip(totals, traces, strict=True)
    )
    return medians
