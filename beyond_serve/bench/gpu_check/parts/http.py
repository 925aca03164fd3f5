"""ViT-Base behind one front-end process, uint8 tensors over HTTP, the load in other processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from beyond_serve.bench.gpu_check.built import BuiltModel, built_models, opened
from beyond_serve.bench.gpu_check.findings import Recorder
from beyond_serve.bench.gpu_check.measure import times_for
from beyond_serve.bench.gpu_check.plan import OUT_OF_TIME
from beyond_serve.bench.gpu_check.resident import ResidentProgram, random_rows
from beyond_serve.bench.gpu_check.site import Site

BATCH = 128
CONNECTIONS = (64, 256, 512)
_MOST_LOAD_CORES = 6
NAME = "gpu-check"
COLUMNS = (
    "connections", "requests/s", "share of the engine alone", "p50 ms", "p99 ms", "server CPU us/request",
    "server cores", "generator CPU", "errors",
)  # fmt: skip


class CpuSamples:
    """The server's CPU time, sampled while the load is measured."""

    def __init__(self, seconds: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._samples: list[tuple[float, float]] = []

    def sample(self, *, warming_up: bool) -> None:
        if not warming_up:
            self._samples.append((self._clock(), self._seconds()))

    def cores(self) -> float:
        """CPU seconds a second; NaN if the time was too short to say."""
        if len(self._samples) < 2 or self._samples[-1][0] <= self._samples[0][0]:
            return float("nan")
        (started, before), (ended, after) = self._samples[0], self._samples[-1]
        return (after - before) / (ended - started)


class Cores(NamedTuple):
    server: tuple[int, ...]
    load: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class HttpRate:
    """One load's figures. generator_cpu: of its busiest process, share of a core."""

    connections: int
    rate: float
    alone: float
    p50_ms: float
    p99_ms: float
    server_cores: float
    generator_cpu: float
    errors: int
    void: tuple[str, ...] = ()

    def row(self) -> tuple[object, ...]:
        us = 1e6 * self.server_cores / self.rate if self.rate else float("nan")
        return (
            *(self.connections, self.rate, self.rate / self.alone, self.p50_ms, self.p99_ms, us),
            *(self.server_cores, self.generator_cpu, self.errors),
        )


def run(site: Site, record: Recorder) -> None:
    from beyond_serve.bench.processes import beyond_serve_command, free_port, started

    model = built_models(site.work)[0]
    alone = alone_rate(site, model)
    cores = split(sorted(os.sched_getaffinity(0)))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = beyond_serve_command(*server_flags(model, site.device, port))
    rates: list[HttpRate] = []
    seconds, warm_up_s = (1.0, 0.5) if site.quick else (5.0, 2.0)
    try:
        with started("beyond-serve", command, url, f"{url}/v2/health/ready", cores.server) as server:
            for connections in CONNECTIONS[:1] if site.quick else CONNECTIONS:
                if site.left_s() < 2 * (seconds + warm_up_s):
                    record.skip(f"{connections} connections", OUT_OF_TIME)
                    continue
                cpu = CpuSamples(server.cpu_seconds)
                rates.append(_offer(url, connections, (seconds, warm_up_s), cores, cpu, alone))
    finally:
        say_rates(str(model), rates, cores, record)


def server_flags(model: BuiltModel, device: int, port: int) -> tuple[str, ...]:
    """One process that refuses nothing: how much it can take is the question."""
    return (
        *("--model", f"{NAME}={model.path}", "--http", f"127.0.0.1:{port}", "--grpc", "off"),
        *("--device", f"cuda:{device}", "--max-batch", str(BATCH), "--max-queue", "8192"),
        *("--max-queue-mb", "4096", "--max-connections", "4096"),
    )


def split(available: Sequence[int]) -> Cores:
    """Half of the cores for the server, of the others a few for the load; all for both where there is one."""
    if len(available) < 2:
        return Cores(tuple(available), tuple(available))
    half = (len(available) + 1) // 2
    return Cores(tuple(available[:half]), tuple(available[half:][:_MOST_LOAD_CORES]))


def alone_rate(site: Site, model: BuiltModel) -> float:
    """Of the engine alone, before the server is there; everything is given back."""
    with opened(site, model, BATCH) as found:
        rows = random_rows(found.network, BATCH, np.random.default_rng())
        with ResidentProgram(found.runtime, found.network, rows) as program:
            return program.rate(times_for(1.0, min(program.seconds(1) for _ in range(3))))


def _offer(
    url: str, connections: int, times: tuple[float, float], cores: Cores, cpu: CpuSamples, alone: float
) -> HttpRate:
    from beyond_serve.bench.load.arrivals import ClosedLoop
    from beyond_serve.bench.load.run import run_load
    from beyond_serve.bench.load.spec import LoadSpec, Target

    seconds, warm_up_s = times
    spec = LoadSpec(
        target=Target(url, "v2-http", NAME, payload="tensor"),
        arrivals=ClosedLoop(connections),
        images=(),
        duration_s=seconds,
        warmup_s=warm_up_s,
        workers=min(len(cores.load), connections),
        traces=False,
        cores=cores.load,
    )
    result = run_load(spec, lambda progress: cpu.sample(warming_up=progress.warming_up))
    latencies = result.answered.latency_ns / 1e6
    p50, p99 = np.percentile(latencies, (50, 99)) if len(latencies) else (float("nan"),) * 2
    return HttpRate(
        connections,
        result.throughput_per_s,
        alone,
        float(p50),
        float(p99),
        cpu.cores(),
        max(result.cpu, default=0.0),
        sum(result.errors.values()),
        tuple(result.void),
    )


def say_rates(what: str, rates: Sequence[HttpRate], cores: Cores, record: Recorder) -> None:
    """No figure is asked for here but that the rate, its CPU and its limit be told."""
    note = (
        f"{what}, uint8 tensors, closed loop, batches of up to {BATCH}; the server has {len(cores.server)} "
        f"cores, the load {len(cores.load)} of its own"
    )
    record.table("Over HTTP", COLUMNS, [rate.row() for rate in rates], [note])
    for rate in rates:
        record.note(f"{rate.connections} connections: {limit_of(rate)}")
        for reason in rate.void:
            record.note(f"{rate.connections} connections: says little of the server: {reason}")


def limit_of(rate: HttpRate) -> str:
    """A sentence: what was used up. Shares are our choice."""
    device = f"{100 * rate.rate / rate.alone:.0f} % of the engine alone"
    if rate.errors:
        return f"{rate.errors} requests failed, so that the rate says nothing"
    if rate.rate >= 0.9 * rate.alone:
        return f"the device limits: {device}"
    if rate.generator_cpu >= 0.9:
        return f"the load generator limits: a process of it uses {100 * rate.generator_cpu:.0f} % of a core"
    if rate.server_cores >= 0.9:
        used = f"{rate.server_cores:.2f} cores"
        return f"the server's process limits: it uses {used}, and its event loop can use one; {device}"
    used = f"server {rate.server_cores:.2f} cores, generator {rate.generator_cpu:.2f}, {device}"
    return f"nothing is used up ({used}): the connections wait for batches; more of them would tell"
