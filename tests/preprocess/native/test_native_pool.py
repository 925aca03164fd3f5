"""The pool: results equal to a single call's, completions by descriptor, order, bounds, references."""

from __future__ import annotations

import asyncio
import gc
import select
import time
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from beyond_serve.errors import ImageDecodeError, ShuttingDownError
from beyond_serve.preprocess.native import NativeParams, NativeStatus, available, decode
from beyond_serve.preprocess.native_pool import Completion, NativePool
from tests.preprocess.native.jpegs import encode, picture

pytestmark = pytest.mark.skipif(not available(), reason="the native core is not built here")

SMALL = NativeParams(0, 0, 96, 64, 24, 16, 0, 0, 24, 16)
LARGE = NativeParams(0, 0, 1200, 900, 224, 224, 0, 0, 224, 224)


@pytest.fixture(scope="module")
def small() -> bytes:
    return encode(picture(96, 64))


@pytest.fixture(scope="module")
def large() -> bytes:
    return encode(picture(1200, 900), quality=92)


@pytest.fixture
def pool() -> Iterator[NativePool]:
    pool = NativePool(1, capacity=64)
    yield pool
    pool.close()


def slot(params: NativeParams) -> np.ndarray:
    return np.empty((params.height, params.width, 3), np.uint8)


def gather(pool: NativePool, count: int) -> list[Completion]:
    found: list[Completion] = []
    while len(found) < count:
        assert select.select([pool.fileno()], [], [], 30)[0], "no completion in 30 s"
        found += pool.completed()
    return found


def test_results_equal_a_single_call(pool: NativePool) -> None:
    images = [encode(picture(96, 64, seed=seed)) for seed in range(12)]
    slots = [slot(SMALL) for _ in images]
    for index, image in enumerate(images):
        assert pool.submit(index, image, SMALL, slots[index])
    assert sorted(token for token, _ in gather(pool, len(images))) == list(range(12))
    for image, written in zip(images, slots, strict=True):
        expected = slot(SMALL)
        decode(image, SMALL, expected)
        np.testing.assert_array_equal(written, expected)


def test_times_are_ordered_and_on_the_monotonic_clock(pool: NativePool, small: bytes) -> None:
    before = time.monotonic_ns()
    pool.submit("a", small, SMALL, slot(SMALL))
    [(_, outcome)] = gather(pool, 1)
    assert before <= outcome.start_ns <= outcome.end_ns <= time.monotonic_ns()
    assert 0 < outcome.decode_ns + outcome.resize_ns <= outcome.end_ns - outcome.start_ns


def test_a_bad_image_fails_alone(pool: NativePool, small: bytes) -> None:
    pool.submit("good", small, SMALL, slot(SMALL))
    pool.submit("bad", small[:300], SMALL, slot(SMALL))
    outcomes = dict(gather(pool, 2))
    assert outcomes["good"].error() is None
    assert isinstance(outcomes["bad"].error(), ImageDecodeError)


def test_descriptor_is_quiet_after_taking(pool: NativePool, small: bytes) -> None:
    pool.submit(0, small, SMALL, slot(SMALL))
    gather(pool, 1)
    assert not select.select([pool.fileno()], [], [], 0)[0]
    assert pool.completed() == []


def test_small_images_pass_the_large_ones_queued_before_them(
    pool: NativePool, small: bytes, large: bytes
) -> None:
    for index in range(6):
        pool.submit(f"large {index}", large, LARGE, slot(LARGE))
    for index in range(6):
        pool.submit(f"small {index}", small, SMALL, slot(SMALL))
    done = [str(token) for token, _ in gather(pool, 12)]
    # The one that runs is interrupted, the others wait. A machine that stops this thread between two submits
    # may let a few through.
    assert max(index for index, name in enumerate(done) if name.startswith("small")) < done.index("large 4")
    assert [name for name in done if name.startswith("large")] == [f"large {index}" for index in range(6)]


def test_an_interrupted_image_is_whole(pool: NativePool, small: bytes, large: bytes) -> None:
    written, expected = slot(LARGE), slot(LARGE)
    decode(large, LARGE, expected)
    pool.submit("large", large, LARGE, written)
    for index in range(40):
        pool.submit(index, small, SMALL, slot(SMALL))
    gather(pool, 41)
    np.testing.assert_array_equal(written, expected)


def test_capacity_counts_what_is_not_taken(small: bytes) -> None:
    pool = NativePool(2, capacity=2)
    assert pool.submit(0, small, SMALL, slot(SMALL))
    assert pool.submit(1, small, SMALL, slot(SMALL))
    assert not pool.submit(2, small, SMALL, slot(SMALL))
    gather(pool, 2)
    assert pool.submit(3, small, SMALL, slot(SMALL))
    pool.close()


def test_close_cancels_what_waits(large: bytes) -> None:
    pool = NativePool(1, capacity=8)
    for index in range(8):
        pool.submit(index, large, LARGE, slot(LARGE))
    pool.close()
    outcomes = [outcome for _, outcome in pool.completed()]
    assert len(outcomes) == 8
    cancelled = [outcome for outcome in outcomes if outcome.status == NativeStatus.CANCELLED]
    assert len(cancelled) >= 6
    assert isinstance(cancelled[0].error(), ShuttingDownError)
    assert not pool.submit(9, large, LARGE, slot(LARGE))


def test_references_are_given_back(small: bytes) -> None:
    class Token:
        pass

    pool = NativePool(1, capacity=8)
    token, written = Token(), slot(SMALL)
    seen = weakref.ref(token)
    pool.submit(token, small, SMALL, written)
    del token
    assert seen() is not None
    assert len(gather(pool, 1)) == 1
    gc.collect()
    assert seen() is None
    written.resize((1,), refcheck=False)  # fails while a buffer of it is exported
    pool.close()


def test_a_pool_dropped_with_jobs_in_flight_ends_them(large: bytes) -> None:
    pool = NativePool(2, capacity=8)
    for index in range(8):
        pool.submit(index, large, LARGE, slot(LARGE))
    del pool
    gc.collect()


async def test_event_loop_is_told_in_batches(small: bytes) -> None:
    pool, loop = NativePool(1, capacity=64), asyncio.get_running_loop()
    done: list[object] = []
    finished = loop.create_future()

    def on_completed(completions: list[Completion]) -> None:
        done.extend(token for token, _ in completions)
        if len(done) == 32:
            finished.set_result(None)

    pool.attach(loop, on_completed)
    for index in range(32):
        pool.submit(index, small, SMALL, slot(SMALL))
    await asyncio.wait_for(finished, 30)
    pool.detach(loop)
    pool.close()
    assert sorted(done) == list(range(32))  # type: ignore[type-var]


@pytest.mark.parametrize("arguments", [(0, 1), (1, 0), (2000, 1)])
def test_impossible_pools(arguments: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="threads must be"):
        NativePool(*arguments)


def test_a_refused_slot_leaves_the_pool_usable(pool: NativePool, small: bytes) -> None:
    with pytest.raises(ValueError, match="slot"):
        pool.submit(0, small, SMALL, np.empty(5, np.uint8))
    pool.submit(1, small, SMALL, slot(SMALL))
    assert [token for token, _ in gather(pool, 1)] == [1]
