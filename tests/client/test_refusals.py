"""What a call comes to that is refused or not answered, over both transports."""

from __future__ import annotations

import asyncio
import socket

import numpy as np
import pytest

from beyond_serve.client import AsyncClient, RetryPolicy, ServerUnreachableError
from beyond_serve.errors import (
    BeyondError,
    DeadlineExceededError,
    EngineError,
    ImageDecodeError,
    InstanceLostError,
    InvalidRequestError,
    ModelNotFoundError,
    PayloadTooLargeError,
    QueueFullError,
    ShuttingDownError,
    UnauthorizedError,
    UnsupportedImageError,
)
from tests.client.fake_server import FakeModel
from tests.client.serving import serve


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequestError("top_k is 0", "give a whole number from 1"),
        PayloadTooLargeError("the body has 3 MB; the limit is 2 MB"),
        UnsupportedImageError("the body is text, which is not served"),
        ImageDecodeError("the PNG is broken at byte 7: no header"),
        QueueFullError("the queue is full (8 of 8 places taken, 1 asked)", "retry later", 7),
        DeadlineExceededError("the deadline passed while the request waited"),
        ShuttingDownError("the server is shutting down", "retry elsewhere"),
        InstanceLostError("the instance that ran this request was lost", "send the request again"),
        EngineError("the engine refused the batch"),
    ],
    ids=lambda error: error.code,
)
async def test_the_servers_errors_come_back(
    client: AsyncClient, model: FakeModel, error: BeyondError
) -> None:
    for call in (lambda: client.predict(b"\x00"), lambda: client.infer({"a": np.zeros(1)}, model="demo")):
        model.refusals = [error]
        with pytest.raises(BeyondError, match=error.message[:12]) as caught:
            await call()
        assert type(caught.value) is type(error)
        if isinstance(error, QueueFullError):
            assert caught.value.retry_after_s == 7


async def test_an_unknown_model(client: AsyncClient) -> None:
    for call in (
        client.predict(b"\x00", "absent"),
        client.infer({"a": np.zeros(1)}, model="absent"),
        client.metadata("absent"),
        client.statistics("absent"),
    ):
        with pytest.raises(ModelNotFoundError, match="no model 'absent'"):
            await call


async def test_the_token(kind: str) -> None:
    async with serve(kind, FakeModel(token="secret")) as url:
        async with AsyncClient(url, token="secret") as client:
            assert (await client.predict(b"\x00")).top.index == 0
        async with AsyncClient(url) as client:
            with pytest.raises(UnauthorizedError, match="token is missing"):
                await client.predict(b"\x00")
            with pytest.raises(UnauthorizedError):
                await client.ready()


async def test_nothing_listens(kind: str) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"{kind}://127.0.0.1:{bound.getsockname()[1]}"
        async with AsyncClient(url) as client:
            with pytest.raises(ServerUnreachableError, match="refused") as caught:
                await client.predict(b"\x00")
    assert url in caught.value.message
    assert "check that the server runs" in (caught.value.hint or "")


async def test_no_answer_in_time(url: str, model: FakeModel) -> None:
    model.hold = asyncio.Event()
    async with AsyncClient(url, timeout_s=0.05) as client:
        with pytest.raises(ServerUnreachableError, match=r"no answer within 0\.05 s"):
            await client.infer({"a": np.zeros(1)}, model="demo")
    model.hold.set()


async def test_refusals_are_retried_as_the_policy_says(url: str, model: FakeModel) -> None:
    refusals = [QueueFullError("the queue is full", retry_after_s=0), ShuttingDownError("stops"), None]
    async with AsyncClient(url, retry=RetryPolicy(attempts=3, base_delay_s=0)) as client:
        model.refusals = [refusal for refusal in refusals if refusal]
        assert (await client.predict(b"\x00")).top.index == 0
        assert len(model.seen) == 3

        model.refusals = [EngineError("the engine failed")]
        with pytest.raises(EngineError):
            await client.predict(b"\x00")
        assert len(model.seen) == 4


async def test_nothing_is_retried_by_default(client: AsyncClient, model: FakeModel) -> None:
    model.refusals = [QueueFullError("the queue is full", retry_after_s=0)]

    with pytest.raises(QueueFullError):
        await client.predict(b"\x00")
    assert len(model.seen) == 1
