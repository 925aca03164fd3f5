"""What is said of a load over HTTP; the load itself runs against a real server of the null engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from beyond_serve.bench.gpu_check.built import BuiltModel
from beyond_serve.bench.gpu_check.findings import Recorder, read_findings
from beyond_serve.bench.gpu_check.parts import http
from beyond_serve.bench.gpu_check.parts.http import Cores, CpuSamples, HttpRate, limit_of, say_rates, split
from beyond_serve.server.cli import parse_command_line


def rate(**changes) -> HttpRate:
    fields = {
        "connections": 64,
        "rate": 5000.0,
        "alone": 10000.0,
        "p50_ms": 10.0,
        "p99_ms": 20.0,
        "server_cores": 0.5,
        "generator_cpu": 0.4,
        "errors": 0,
    }
    return HttpRate(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rate": 9500.0, "server_cores": 1.5}, "the device limits: 95 %"),
        ({"generator_cpu": 0.97, "server_cores": 1.2}, "the load generator limits"),
        ({"server_cores": 1.05}, "the server's process limits: it uses 1.05 cores"),
        ({}, "nothing is used up"),
        ({"errors": 3, "rate": 9500.0}, "3 requests failed"),
    ],
)
def test_what_limits(changes: dict[str, float], said: str) -> None:
    assert said in limit_of(rate(**changes))


def test_the_table(tmp_path: Path) -> None:
    record = Recorder(tmp_path / "findings")
    say_rates("vit", [rate(void=("it was late",)), rate(rate=0.0)], Cores((0, 1), (2,)), record)
    found = read_findings(tmp_path / "findings")
    (table,) = found.tables
    assert table.rows[0] == [64, 5000.0, 0.5, 10.0, 20.0, 100.0, 0.5, 0.4, 0]
    assert len(table.columns) == len(table.rows[0])
    assert "it was late" in found.notes[1]


def test_cpu_is_of_the_measured_time() -> None:
    clock, used = iter([10.0, 11.0, 12.0]), iter([5.0, 5.5, 6.5])
    cpu = CpuSamples(lambda: next(used), lambda: next(clock))
    assert cpu.cores() != cpu.cores()
    cpu.sample(warming_up=True)
    for _ in range(3):
        cpu.sample(warming_up=False)
    assert cpu.cores() == 0.75


def test_cores_are_shared_out() -> None:
    assert split(range(16)) == Cores(tuple(range(8)), tuple(range(8, 14)))
    assert split([3, 5]) == Cores((3,), (5,))
    assert split([3]) == Cores((3,), (3,))


def test_the_server_knows_its_flags() -> None:
    parse_command_line(list(http.server_flags(BuiltModel("vit", "bf16", "vit.pt2"), 0, 8000)))


def test_a_load_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the GPU: a server with the null engine, one worker that sends tensors."""
    from beyond_serve.bench.processes import beyond_serve_command, free_port, started

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = beyond_serve_command(
        "--model", f"{http.NAME}=null:8", "--http", f"127.0.0.1:{port}", "--grpc", "off"
    )
    with started("beyond-serve", command, url, f"{url}/v2/health/ready") as server:
        cores = split(sorted(http.os.sched_getaffinity(0)))
        found = http._offer(url, 2, (0.4, 0.1), cores, CpuSamples(server.cpu_seconds), 1000.0)
    assert found.errors == 0
    assert found.rate > 0
    assert 0 < found.p50_ms <= found.p99_ms
