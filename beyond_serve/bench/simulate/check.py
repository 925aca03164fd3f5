"""Is the simulation right? A real server with a `sim:` engine, and the same arrivals simulated.

What the simulation cannot know it is told, measured at zero load: how much longer than its table a batch
takes on an instance, and what an answer takes outside of queue and batch. Nothing is fitted to the loads
that are compared. Requests arrive when the generator really sent them, and latencies count from there.

A machine that is busy otherwise wakes threads late, which no simulation can foresee. Where the generator was
late, or the emulated accelerator took longer than at zero load, the load is void and not judged.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyond_serve.batching import STAGES
from beyond_serve.bench.load import ClosedLoop, LoadResult, LoadSpec, Poisson, Target, image_mix, run_load
from beyond_serve.bench.load.arrivals import Replay
from beyond_serve.bench.load.table import RequestTable
from beyond_serve.bench.processes import beyond_serve_command, free_port, started
from beyond_serve.bench.report import Verdict
from beyond_serve.bench.simulate.instance import Latency
from beyond_serve.bench.simulate.points import Point, having, measure
from beyond_serve.bench.simulate.scenario import VIT_BASE_LIKE, Scenario, capacity
from beyond_serve.engines.sim_engine import SimTable
from beyond_serve.server.config import ModelConfig

THROUGHPUT, P99 = 0.03, 0.10
"""How far the simulation may be off; the issue's."""

SLOWED = 10
"""The table's times are so many times those of the issue's unless another is given: what else a small machine
does, and its slow timers, then weigh as little as on a large one. Queueing knows no unit of time."""

SLOW_TABLE = SimTable(
    f"{VIT_BASE_LIKE.name}, {SLOWED} times slower",
    VIT_BASE_LIKE.input,
    VIT_BASE_LIKE.classes,
    tuple((size, SLOWED * ms) for size, ms in VIT_BASE_LIKE.latencies),
)

DISTURBED = 0.05
"""Of the table's time for one: where a hundredth of the requests were in batches that took so much longer
than at zero load, the machine was busy otherwise. An invented number."""

_ON_INSTANCE = ("copy_in", "infer", "copy_out", "postprocess")
_SMALL = "small"


@dataclass(frozen=True, slots=True)
class Beside:
    """What zero load takes besides the table. Nanoseconds."""

    batch_ns: int
    outside_ns: int


def check(
    table: SimTable,
    policy: str,
    max_delay_us: int,
    loads: Sequence[float],
    quick: bool,
    seed: int,
    say: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """Two points for each load: the server's and the simulation's.

    Raises:
        ConfigError: the server does not start. BeyondError: it cannot be reached.
    """
    largest = table.latencies[-1][0]
    flags = ("--policy", policy, "--max-batch", str(largest), "--max-delay-us", str(max_delay_us))
    model = ModelConfig("simulated", "sim:", policy=policy, max_batch=largest, max_delay_us=max_delay_us)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "table.json")
        file.write_text(_json(table))
        address = f"127.0.0.1:{free_port()}"
        url = f"http://{address}"
        command = beyond_serve_command("--model", f"sim:{file}", "--http", address, "--grpc", "off", *flags)
        with started("beyond-serve", command, url, f"{url}/healthz"):
            say("zero load, on the real server")
            beside = _beside(run_load(_spec(url, ClosedLoop(1), quick, seed)), table)
            for load in loads:
                say(f"load {load:g}, on the real server")
                rate = load * capacity(Latency(table), largest, 1)
                result = run_load(_spec(url, Poisson(rate), quick, seed))
                labels = {"part": "check", "arrivals": "poisson", "load": load}
                void = [*result.void, *_disturbance(result, table, beside)]
                yield {"labels": {**labels, "side": "real"}, "load": result.summary() | {"void": void}}
                given = _same(result, table, model, beside)
                yield measure(given, {**labels, "side": "simulated"})


def _spec(url: str, arrivals: ClosedLoop | Poisson, quick: bool, seed: int) -> LoadSpec:
    duration_s = 4.0 if quick else 15.0
    return LoadSpec(
        Target(url),
        arrivals,
        image_mix(_SMALL, seed),
        duration_s=duration_s if isinstance(arrivals, Poisson) else duration_s / 3,
        warmup_s=1.0,
        seed=seed,
    )


def _beside(result: LoadResult, table: SimTable) -> Beside:
    answered = result.answered
    inside_ns = _inside_ns(answered)
    # Alone a request waits for its batch's delay and no more, which the simulation knows.
    waited_ns = answered.stages_us[:, STAGES.index("batch_wait")] * 1e3
    outside_ns = answered.latency_from_send_ns - inside_ns - waited_ns
    over_ns = float(np.nanmedian(inside_ns)) - table.latency_ms(1) * 1e6
    return Beside(max(0, round(over_ns)), max(0, round(float(np.nanmedian(outside_ns)))))


def _inside_ns(answered: RequestTable) -> NDArray[np.floating[Any]]:
    """From its batch's start on the instance to the batch's end; NaN without a trace."""
    columns = [STAGES.index(name) for name in _ON_INSTANCE]
    inside: NDArray[np.floating[Any]] = answered.stages_us[:, columns].sum(axis=1) * 1e3
    return inside


def _disturbance(result: LoadResult, table: SimTable, beside: Beside) -> Iterator[str]:
    """Why what ran beside the server had a part in its figures, if it had."""
    answered = result.answered
    traced = ~np.isnan(answered.batch_size)
    if not traced.any():
        yield "the server gave no traces"
        return
    by_size = [
        0.0,
        *(table.latency_ms(size) * 1e6 for size in range(1, int(answered.batch_size[traced].max()) + 1)),
    ]
    expected_ns = np.array(by_size)[answered.batch_size[traced].astype(int)] + beside.batch_ns
    over_ms = float(np.percentile(_inside_ns(answered)[traced] - expected_ns, 99)) / 1e6
    bound_ms = DISTURBED * table.latency_ms(1)
    if over_ms > bound_ms:
        yield (
            f"the machine was disturbed: batches took {over_ms:.2f} ms longer than at zero load at p99 "
            f"(bound {bound_ms:.2f} ms)"
        )


def _same(result: LoadResult, table: SimTable, model: ModelConfig, beside: Beside) -> Scenario:
    """What the server was given, from the moments at which the generator really sent."""
    sent = np.sort(result.table.sent_ns[result.table.sent_ns > 0])
    warm = int(np.count_nonzero(sent < result.window.start_ns))
    seconds = (sent - sent[0]) / 1e9
    return Scenario(
        replace(Latency(table), overhead_ns=beside.batch_ns),
        model,
        Replay(tuple(seconds.tolist())),
        len(sent),
        warmup=warm / len(sent),
        outside_ns=beside.outside_ns,
    )


def _json(table: SimTable) -> str:
    return json.dumps(
        {
            "name": table.name,
            "input": table.input,
            "classes": table.classes,
            "latency_ms": {str(size): ms for size, ms in table.latencies},
        }
    )


def verdicts(points: Sequence[Point]) -> list[Verdict]:
    """Of each load whose two sides were measured, and is not void."""
    found = []
    mine = having(points, part="check")
    for simulated in having(mine, side="simulated"):
        load = simulated["labels"]["load"]
        for real in having(mine, side="real", load=load):
            if real["load"]["void"]:
                continue
            rates = [side["load"]["throughput_per_s"] for side in (simulated, real)]
            found.append(_within(f"throughput at {load:g}: simulated over real", rates, THROUGHPUT))
            p99 = [side["load"]["latency_from_send_ms"]["p99"] for side in (simulated, real)]
            if None not in p99:
                found.append(_within(f"p99 at {load:g}: simulated over real", p99, P99))
    return found


def _within(what: str, sides: Sequence[float], bound: float) -> Verdict:
    simulated, real = sides
    off = simulated / real - 1
    return Verdict(what, f"within {bound:.0%}", f"{off:+.1%}", abs(off) <= bound)
