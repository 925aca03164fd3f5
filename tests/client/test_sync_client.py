"""The facade: threads, loops, closing. What the calls do is tested in test_async_client.py."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any

import numpy as np
import pytest

from beyond_serve.client import AsyncClient, Client
from beyond_serve.client.loop_thread import LoopThread
from beyond_serve.errors import ImageDecodeError
from tests.client.fake_server import FakeModel
from tests.client.serving import serve


class ThreadedFake:
    """The fakes on a loop of their own, so that a test may block."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self.thread = LoopThread("fake servers", self._stack.aclose)

    def start(self, kind: str, model: FakeModel, **options: Any) -> str:
        return self.thread.run(self._stack.enter_async_context(serve(kind, model, **options)))

    def close(self) -> None:
        self.thread.stop()
        self.thread.join()


@pytest.fixture
def fake() -> Iterator[ThreadedFake]:
    fake = ThreadedFake()
    yield fake
    fake.close()


@pytest.fixture(params=["http", "grpc"])
def url(request: pytest.FixtureRequest, fake: ThreadedFake) -> str:
    return fake.start(request.param, FakeModel())


def test_every_call(url: str) -> None:
    with Client(url) as client:
        assert client.predict(b"\x01", top_k=2).top.index == 1
        first, bad = client.predict_many([b"\x02", b"BAD"])
        assert getattr(first, "top").index == 2  # noqa: B009  a union
        assert isinstance(bad, ImageDecodeError)
        np.testing.assert_array_equal(client.infer({"x": np.arange(3)})["x"], [0, 1, 2])
        assert client.metadata("demo").outputs[0].name == "logits"
        assert client.statistics("demo")["inference_count"] == 7
        assert client.live()
        client.unload("demo")
        assert not client.ready()
        client.load("demo")
        assert client.ready("demo")
        assert client.models()[0].ready


def test_several_threads_share_a_client(url: str) -> None:
    with Client(url) as client, ThreadPoolExecutor(8) as pool:
        indices = list(pool.map(lambda i: client.predict(bytes([i])).top.index, range(48)))

    assert indices == [i % 3 for i in range(48)]


def test_several_clients_at_once(url: str) -> None:
    clients = [Client(url) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda client: client.predict(b"\x02").top.index, clients))
    for client in clients:
        client.close()

    assert results == [2, 2, 2]


async def test_may_be_called_within_a_running_loop(url: str) -> None:
    with Client(url) as client:
        assert client.predict(b"\x00").top.index == 0


def test_errors_reach_the_calling_thread(url: str) -> None:
    with Client(url) as client, pytest.raises(ImageDecodeError, match="truncated"):
        client.predict(b"BAD")


def test_a_closed_client_says_so(url: str) -> None:
    client = Client(url)
    client.live()
    client.close()
    client.close()

    assert "closed" in repr(client)
    with pytest.raises(RuntimeError, match="closed"):
        client.live()


def test_closing_ends_the_calls_of_other_threads(fake: ThreadedFake) -> None:
    model = FakeModel()
    client = Client(fake.start("http", model))

    async def hold() -> None:
        model.hold = asyncio.Event()

    fake.thread.run(hold())
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.predict, b"\x00")
        fake.thread.run(_wait(model.entered))
        client.close()
        with pytest.raises(RuntimeError, match="closed during the call"):
            call.result()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


def test_a_client_nobody_closed_ends_its_thread_when_collected(url: str) -> None:
    client = Client(url)
    client.live()
    (thread,) = [thread for thread in threading.enumerate() if thread.name == f"beyond-client {url}"]

    del client
    gc.collect()
    thread.join(5)

    assert not thread.is_alive()


def test_the_facade_has_every_call_of_the_async_client() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(Client) == public(AsyncClient)


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_an_exit_without_close_is_silent(kind: str, fake: ThreadedFake) -> None:
    # A process of its own: what an interpreter prints on its way out is seen nowhere else.
    script = f"""
        from beyond_serve.client import Client
        client = Client({fake.start(kind, FakeModel())!r})
        print(client.predict(b"\\x01").top.index)
    """

    assert _run(script) == ("1\n", "", 0)


def test_a_forked_child_is_told_to_make_its_own(fake: ThreadedFake) -> None:
    script = f"""
        import os, warnings
        from beyond_serve.client import Client
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, from Python 3.12
        client = Client({fake.start("http", FakeModel())!r})
        client.live()
        child = os.fork()
        if child == 0:
            try:
                client.live()
            except RuntimeError as error:
                print(error, flush=True)
            client.close()
        else:
            os.waitpid(child, 0)
            print(client.live())
    """

    out, err, status = _run(script)
    assert (err, status) == ("", 0)
    assert out == "the client was made before this process was forked: make another one here\nTrue\n"


def _run(script: str) -> tuple[str, str, int]:
    command = [sys.executable, "-X", "dev", "-c", textwrap.dedent(script)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return ended.stdout, ended.stderr, ended.returncode
