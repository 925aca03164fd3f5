"""The pool for programs that are no server: futures, awaitables, backpressure, closing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future

import numpy as np
import pytest

from beyond_serve.errors import (
    ImageDecodeError,
    InvalidRequestError,
    PayloadTooLargeError,
    QueueFullError,
    ShuttingDownError,
    UnsupportedImageError,
)
from beyond_serve.preprocess import decoding, native
from beyond_serve.preprocess.capabilities import Decoder
from beyond_serve.preprocess.decode_pool import Pool
from beyond_serve.preprocess.decoding import Decoded, decode
from beyond_serve.preprocess.geometry import Region
from beyond_serve.preprocess.header import ImageHeader
from beyond_serve.preprocess.host import HostPreprocessor
from beyond_serve.preprocess.image_path import Made
from beyond_serve.preprocess.limits import PixelLimits
from beyond_serve.preprocess.plan import Fidelity, PreprocessPlan
from tests.preprocess.images import Pixels, encode, jpeg, photograph

PLAN = PreprocessPlan(size=(64, 64), crop=(56, 56))
PHOTO = jpeg(150, 100)
WAIT_S = 30


@pytest.fixture(params=["native core", "libraries"])
def pool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    if request.param == "libraries":
        monkeypatch.setattr(native, "available", lambda: False)
    elif not native.available():
        pytest.skip("the native core is not built here")
    decoding.preprocessor_for.cache_clear()
    with Pool(2, capacity=4) as pool:
        yield pool
    decoding.preprocessor_for.cache_clear()


class Gate(HostPreprocessor):
    """Holds every image until it is opened, on Python's threads."""

    def __init__(self) -> None:
        super().__init__(PLAN)
        self.open = threading.Event()
        self.begun = threading.Semaphore(0)

    def native_params(self, header: ImageHeader, region: Region | None = None) -> None:
        return None

    def run(self, data: bytes, header: ImageHeader, out: Pixels, region: Region | None = None) -> Made:
        self.begun.release()
        assert self.open.wait(WAIT_S)
        out[...] = 1
        return Made(0, Decoder.PILLOW, 1)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()

    def gated(plan: PreprocessPlan, fidelity: Fidelity, tolerate_corrupt: bool) -> Gate:
        return gate

    monkeypatch.setattr("beyond_serve.preprocess.decode_pool.preprocessor_for", gated)
    yield gate
    gate.open.set()


def result(future: Future[Decoded]) -> Decoded:
    return future.result(WAIT_S)


def test_results_equal_a_single_call(pool: Pool) -> None:
    images = [encode(photograph(90 + seed, 70, seed=seed), kind) for seed in range(5) for kind in KINDS]
    batch = np.zeros((len(images), *PLAN.output_shape), np.uint8)
    futures = [pool.submit(data, PLAN, row, timeout_s=None) for data, row in zip(images, batch, strict=True)]
    for data, row, future in zip(images, batch, futures, strict=True):
        made = result(future)
        assert made.pixels is row or made.pixels.base is batch
        assert (made.header.format, made.scale) == (decode(data, PLAN).header.format, 1)
        np.testing.assert_array_equal(row, decode(data, PLAN).pixels)


KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")


def test_it_tells_what_was_done(pool: Pool) -> None:
    made = result(pool.submit(PHOTO, PLAN))
    assert made.decoder is (Decoder.NATIVE if native.available() else Decoder.SIMPLEJPEG)
    assert made.decode_ns > 0
    assert made.transform_ns >= 0


def test_a_region_and_a_fidelity() -> None:
    region = Region(10, 20, 600, 480.5)
    data = jpeg(640, 500)
    with Pool(1, fidelity="fast") as pool:
        made = result(pool.submit(data, PLAN, region=region))
    expected = decode(data, PLAN, fidelity="fast", region=region)
    assert made.scale == expected.scale == 4
    np.testing.assert_array_equal(made.pixels, expected.pixels)


@pytest.mark.parametrize(
    ("data", "region", "kind"),
    [
        (b"", None, UnsupportedImageError),
        (b"hello", None, UnsupportedImageError),
        (PHOTO[:40], None, ImageDecodeError),
        (PHOTO[: len(PHOTO) // 2], None, ImageDecodeError),
        (encode(photograph(60, 60), "GIF")[:900], None, ImageDecodeError),
        (PHOTO, Region(0, 0, 151, 100), InvalidRequestError),
        (jpeg(1, 20_000), None, PayloadTooLargeError),
    ],
    ids=["empty", "no image", "no header", "truncated", "truncated gif", "region outside", "strip"],
)
def test_an_image_s_fault_is_its_future_s_error(
    pool: Pool, data: bytes, region: Region | None, kind: type[Exception]
) -> None:
    bad = pool.submit(data, PLAN, region=region)
    good = pool.submit(PHOTO, PLAN)
    assert type(bad.exception(WAIT_S)) is kind
    np.testing.assert_array_equal(result(good).pixels, decode(PHOTO, PLAN).pixels)


async def test_coroutines_see_the_same_errors(pool: Pool) -> None:
    with pytest.raises(ImageDecodeError):
        await pool.decode(PHOTO[:900], PLAN)
    with pytest.raises(InvalidRequestError):
        await pool.decode(PHOTO, PLAN, region=Region(0, 0, 1, 101))


def test_limits_are_the_pool_s() -> None:
    with Pool(1, limits=PixelLimits(max_pixels=100)) as pool:
        assert isinstance(pool.submit(PHOTO, PLAN).exception(WAIT_S), PayloadTooLargeError)


def test_the_caller_s_mistakes_are_raised_at_once_and_take_no_place(pool: Pool) -> None:
    for _ in range(5):
        with pytest.raises(ValueError, match="the plan makes"):
            pool.submit(PHOTO, PLAN, np.empty((1, 2, 3), np.uint8))
        with pytest.raises(TypeError):
            pool.submit("photo.jpg", PLAN)  # type: ignore[arg-type]
    assert repr(pool) == "<Pool 0 of 4 places taken>"


def test_full(gate: Gate) -> None:
    with Pool(1, capacity=2) as pool:
        futures = [pool.submit(PHOTO, PLAN) for _ in range(2)]
        for timeout_s in (0.0, 0.001):
            with pytest.raises(QueueFullError, match="the pool is full: 2 images are in it") as raised:
                pool.submit(PHOTO, PLAN, timeout_s=timeout_s)
        assert raised.value.hint == "wait for a future, or give submit a timeout_s"
        gate.open.set()
        futures.append(pool.submit(PHOTO, PLAN, timeout_s=None))
        assert all(result(future).pixels.all() for future in futures)


async def test_coroutines_wait_their_turn_when_it_is_full(gate: Gate) -> None:
    with Pool(1, capacity=2) as pool:
        tasks = [asyncio.create_task(pool.decode(PHOTO, PLAN)) for _ in range(6)]
        await asyncio.sleep(0)
        assert repr(pool) == "<Pool 2 of 2 places taken>"
        gate.open.set()
        assert len(await asyncio.gather(*tasks)) == 6
        assert repr(pool) == "<Pool 0 of 2 places taken>"


async def test_cancelled_while_it_waits_for_a_place_it_ends_at_once(gate: Gate) -> None:
    with Pool(1, capacity=1) as pool:
        running = asyncio.create_task(pool.decode(PHOTO, PLAN))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(pool.decode(PHOTO, PLAN))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.open.set()
        await running
        await pool.decode(PHOTO, PLAN)  # the place was not lost


async def test_cancelled_under_way_it_ends_when_the_output_is_the_caller_s_again(gate: Gate) -> None:
    out = np.zeros(PLAN.output_shape, np.uint8)
    with Pool(1) as pool:
        task = asyncio.create_task(pool.decode(PHOTO, PLAN, out))
        await asyncio.to_thread(gate.begun.acquire)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
            assert not task.done()
        gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert out.all()


def test_a_future_cannot_be_cancelled(gate: Gate) -> None:
    with Pool(1) as pool:
        futures = [pool.submit(PHOTO, PLAN) for _ in range(2)]
        assert not any(future.cancel() for future in futures)
        gate.open.set()
        assert all(result(future).pixels.all() for future in futures)


def test_closing_finishes_what_is_there(gate: Gate) -> None:
    pool = Pool(1)
    futures = [pool.submit(PHOTO, PLAN) for _ in range(5)]
    closing = threading.Thread(target=pool.close)
    closing.start()
    gate.open.set()
    closing.join(WAIT_S)
    assert not closing.is_alive()
    assert all(future.done() and future.result().pixels.all() for future in futures)


def test_closed(pool: Pool) -> None:
    pool.close()
    with pytest.raises(ShuttingDownError, match="the pool is closed"):
        pool.submit(PHOTO, PLAN)
    pool.close()
    pool.close(cancel=True)


async def test_closed_for_coroutines(pool: Pool) -> None:
    pool.close()
    with pytest.raises(ShuttingDownError, match="the pool is closed"):
        await pool.decode(PHOTO, PLAN)


def test_closing_with_cancel_ends_every_future() -> None:
    pool = Pool(1)
    big = jpeg(1600, 1200)
    futures = [pool.submit(big, PLAN) for _ in range(20)]
    pool.close(cancel=True)
    assert all(future.done() for future in futures)
    errors = [future.exception() for future in futures]
    assert all(error is None or isinstance(error, ShuttingDownError) for error in errors)
    if native.available():
        assert any(errors)


async def test_whoever_waits_for_a_place_hears_of_the_closing(gate: Gate) -> None:
    pool = Pool(1, capacity=1)
    running = asyncio.create_task(pool.decode(PHOTO, PLAN))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(pool.decode(PHOTO, PLAN))
    await asyncio.sleep(0)
    closing = asyncio.create_task(asyncio.to_thread(pool.close))
    with pytest.raises(ShuttingDownError):
        await waiting
    gate.open.set()
    await running
    await closing


def test_many_threads_submit(pool: Pool) -> None:
    expected = decode(PHOTO, PLAN).pixels
    wrong: list[bool] = []

    def work() -> None:
        futures = [pool.submit(PHOTO, PLAN, timeout_s=None) for _ in range(20)]
        wrong.extend(not np.array_equal(result(future).pixels, expected) for future in futures)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 160
    assert not any(wrong)


@pytest.mark.parametrize(("threads", "capacity"), [(0, 4), (-1, 4), (2, 0), (2, -5)])
def test_impossible_pools(threads: int, capacity: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        Pool(threads, capacity=capacity)


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    with Pool(3) as pool:
        result(pool.submit(PHOTO, PLAN))
    assert threading.active_count() == before
