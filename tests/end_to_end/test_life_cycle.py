"""Starting, stopping under load, dying instances, several models."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.end_to_end.serving import EXAMPLES, Server, curl, serving

SEVEN = (EXAMPLES / "seven.jpg").read_bytes()


@pytest.fixture
def slow_table(tmp_path: Path) -> Path:
    """An emulated accelerator that takes 20 ms a batch."""
    path = tmp_path / "slow.json"
    path.write_text(
        json.dumps({"name": "slow", "input": [32, 32, 3], "classes": 3, "latency_ms": {"1": 20, "4": 30}})
    )
    return path


class Load:
    """Clients that ask again and again until the server is gone, counting what became of each request."""

    def __init__(self, url: str, clients: int) -> None:
        self.url = url
        self.clients = clients
        self.answered = 0
        self.refused = 0
        self.lost = 0
        self.enough = asyncio.Event()

    async def run(self) -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await asyncio.gather(*(self._client(session) for _ in range(self.clients)))

    async def _client(self, session: aiohttp.ClientSession) -> None:
        while True:
            try:
                async with session.post(f"{self.url}/predict", data=SEVEN) as response:
                    await response.read()
            except aiohttp.ClientConnectorError:
                return  # Never accepted: the server does not listen any more.
            except aiohttp.ClientError:
                self.lost += 1
                return
            if response.status == 200:
                self.answered += 1
            else:
                self.refused += 1
            if self.answered >= 3 * self.clients:
                self.enough.set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_under_load_loses_nothing_accepted(slow_table: Path, number: int) -> None:
    with serving("--model", f"sim:{slow_table}", "--max-batch", "4") as server:
        load = Load(server.http, clients=32)
        running = asyncio.ensure_future(load.run())
        await asyncio.wait_for(load.enough.wait(), 30)
        server.process.send_signal(number)
        await asyncio.wait_for(running, 30)
        assert server.process.wait(30) == 0
    assert load.answered >= 96
    assert (load.lost, load.refused) == (0, 0)


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    table = tmp_path / "stuck.json"
    table.write_text(json.dumps({"name": "s", "input": [8, 8, 3], "classes": 2, "latency_ms": {"1": 60_000}}))

    def free_slots(server: Server) -> str:
        _, text = curl(f"{server.http}/metrics")
        return next(line for line in text.decode().splitlines() if line.startswith("beyond_slots_free{"))

    def wait_until_busy(server: Server, idle: str) -> None:
        while free_slots(server) == idle:
            pass

    async def ask_and_stop(server: Server) -> None:
        idle = free_slots(server)
        async with aiohttp.ClientSession() as session:
            stuck = asyncio.ensure_future(session.post(f"{server.http}/predict", data=SEVEN))
            await asyncio.to_thread(wait_until_busy, server, idle)
            server.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(server.read_until, "SIGTERM")
            server.process.send_signal(signal.SIGTERM)
            with pytest.raises(aiohttp.ClientError):
                await stuck

    with serving("--model", f"sim:{table}") as server:
        asyncio.run(ask_and_stop(server))
        assert server.process.wait(10) == 1


def test_an_idle_server_ends_cleanly_and_says_nothing_bad() -> None:
    with serving("--model", "demo") as server:
        assert server.stop() == 0


def test_a_killed_instance_process_is_replaced_and_its_batch_runs_once_more(slow_table: Path) -> None:
    arguments = ("--model", f"sim:{slow_table}", "--instance-kind", "process")
    with serving(*arguments) as server:
        (child,) = [
            process
            for process in psutil.Process(server.process.pid).children(recursive=True)
            if "spawn_main" in " ".join(process.cmdline())
        ]
        child.kill()
        status, body = curl("--data-binary", "@-", f"{server.http}/predict", data=SEVEN)
        assert status == 200, body
        assert curl(f"{server.http}/healthz")[0] == 200
        assert server.stop() == 0
        assert not child.is_running()


def test_several_models_are_named_and_can_be_unloaded_and_loaded() -> None:
    with serving("--model", "a=demo", "--model", "b=demo", "--precision", "fp32") as server:
        url = server.http
        status, body = curl("--data-binary", "@-", f"{url}/predict", data=SEVEN)
        assert status == 400
        assert "model=" in json.loads(body)["error"]["hint"]
        for name in ("a", "b"):
            _, body = curl("--data-binary", "@-", f"{url}/predict?model={name}", data=SEVEN)
            assert json.loads(body)["predictions"][0]["label"] == "seven"
        assert curl("-X", "POST", f"{url}/v2/repository/models/a/unload")[0] == 200
        assert curl("--data-binary", "@-", f"{url}/predict?model=a", data=SEVEN)[0] == 404
        assert curl("--data-binary", "@-", f"{url}/predict?model=b", data=SEVEN)[0] == 200
        assert curl(f"{url}/v2/health/ready")[0] == 200
        assert curl("-X", "POST", f"{url}/v2/repository/models/a/load")[0] == 200
        assert curl("--data-binary", "@-", f"{url}/predict?model=a", data=SEVEN)[0] == 200
        assert server.stop() == 0


def test_a_queue_that_is_full_says_when_to_come_back(slow_table: Path) -> None:
    async def overload(server: Server) -> list[aiohttp.ClientResponse]:
        async with aiohttp.ClientSession() as session:
            return await asyncio.gather(
                *(session.post(f"{server.http}/predict", data=SEVEN) for _ in range(64))
            )

    with serving("--model", f"sim:{slow_table}", "--max-queue", "4", "--max-batch", "1") as server:
        responses = asyncio.run(overload(server))
    statuses = {response.status for response in responses}
    assert statuses == {200, 429}
    assert all(int(r.headers["Retry-After"]) >= 1 for r in responses if r.status == 429)


def test_a_deadline_that_cannot_be_met_is_504(slow_table: Path) -> None:
    with serving("--model", f"sim:{slow_table}") as server:
        status, body = curl("--data-binary", "@-", f"{server.http}/predict?timeout_ms=5", data=SEVEN)
        assert status == 504
        assert json.loads(body)["error"]["code"] == "deadline_exceeded"
        assert curl("--data-binary", "@-", f"{server.http}/predict?timeout_ms=5000", data=SEVEN)[0] == 200


@pytest.mark.parametrize("trace_format", ["chrome", "triton"])
def test_the_trace_file_holds_every_request(tmp_path: Path, trace_format: str) -> None:
    path = tmp_path / "trace.json"
    with serving("--model", "demo", "--trace-file", str(path), "--trace-format", trace_format) as server:
        for _ in range(3):
            curl("--data-binary", "@-", f"{server.http}/predict", data=SEVEN)
        curl("--data-binary", "@-", f"{server.http}/predict", data=b"junk")
        assert server.stop() == 0
    events = json.loads(path.read_text())
    if trace_format == "chrome":
        outcomes = [event["args"]["outcome"] for event in events if event["cat"] == "request"]
        assert sorted(outcomes) == ["ok", "ok", "ok", "unsupported_image"]
    else:
        assert sum("timestamps" in event for event in events) == 4
