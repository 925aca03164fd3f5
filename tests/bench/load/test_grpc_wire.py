from __future__ import annotations

import asyncio

import pytest

from beyond_serve.bench.load.error_kinds import ErrorKind, status_name
from beyond_serve.bench.load.grpc_wire import GrpcWire, failure
from beyond_serve.bench.load.plan import WirePlan
from beyond_serve.client.endpoint import parse_endpoint
from beyond_serve.client.grpc_codec import predict_message
from tests.bench.load.test_http_wire import End
from tests.client.fake_server import FakeModel
from tests.client.serving import serve


def plan_for(url: str, model: str = "demo") -> WirePlan:
    host, _, port = parse_endpoint(url).authority.rpartition(":")
    message = predict_message(model, [b"\x01"], {"top_k": 1}).SerializeToString()
    return WirePlan(True, host, int(port), host, (message,), (("x-trace", "1"),), traced=True, timeout_s=5.0)


async def ends_of(plan: WirePlan, requests: int) -> list[End]:
    ends: asyncio.Queue[End] = asyncio.Queue()
    wire = GrpcWire(plan, lambda *end: ends.put_nowait(End(*end)), lambda *_: None)
    await wire.open(1)
    for row in range(requests):
        assert wire.send(row, 0) > 0
    found = [await asyncio.wait_for(ends.get(), 10) for _ in range(requests)]
    await wire.close()
    assert ends.empty()
    return found


async def test_calls_come_back_with_their_traces() -> None:
    async with serve("grpc", FakeModel()) as url:
        ends = await ends_of(plan_for(url), 20)
    assert sorted(end.row for end in ends) == list(range(20))
    assert {end.kind for end in ends} == {ErrorKind.NONE}
    assert all(end.bytes_in > 0 for end in ends)
    assert all(end.body is not None and b"stages_us" in end.body for end in ends)


async def test_a_status_is_counted_by_its_name() -> None:
    async with serve("grpc", FakeModel()) as url:
        (end,) = await ends_of(plan_for(url, "nobody"), 1)
    assert end.kind == ErrorKind.STATUS
    assert status_name(end.status, grpc=True) == "gRPC NOT_FOUND"


async def test_calls_on_their_way_are_abandoned() -> None:
    async with serve("grpc", FakeModel()) as url:
        ends: list[End] = []
        wire = GrpcWire(plan_for(url), lambda *end: ends.append(End(*end)), lambda *_: None)
        await wire.open(1)
        for row in range(150):
            wire.send(row, 0)
        await wire.close()
    assert sorted(end.row for end in ends) == list(range(150))


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (14, "failed to connect to all addresses; last error: Connection refused", ErrorKind.REFUSED),
        (14, "Ssl handshake failed: CERTIFICATE_VERIFY_FAILED", ErrorKind.TLS),
        (14, "recvmsg: Connection reset by peer", ErrorKind.RESET),
        (14, "Socket closed", ErrorKind.RESET),
        (14, "the server is shutting down", ErrorKind.STATUS),
        (4, "Deadline Exceeded", ErrorKind.TIMEOUT),
        (8, "the queue is full", ErrorKind.STATUS),
    ],
)
def test_statuses_by_their_meaning(code: int, details: str, kind: ErrorKind) -> None:
    assert failure(code, details) == (kind, code if kind is ErrorKind.STATUS else 0)
