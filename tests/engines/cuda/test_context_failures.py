"""Rows that do not fit, errors that pass, devices that are lost, contexts that end."""

from __future__ import annotations

import numpy as np
import pytest

from beyond_serve.engines.cuda.context import CudaContext
from beyond_serve.errors import EngineError, InstanceLostError
from tests.engines.batches import encoded_batch, image_batch, infer, tensor_batch
from tests.engines.cuda.fake_network import (
    HEIGHT,
    WIDTH,
    float_input,
)
from tests.engines.cuda.fake_runtime import FakeRuntime
from tests.engines.cuda.fake_setup import make_setup, pixels, wanted


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.mark.parametrize(
    "batch",
    [
        encoded_batch(2),
        tensor_batch(np.zeros((2, 3, HEIGHT, WIDTH), np.float32)),
        image_batch(np.zeros((2, HEIGHT + 1, WIDTH, 3), np.uint8)),
        image_batch(np.zeros((2, HEIGHT, WIDTH, 3), np.uint16)),
    ],
    ids=["encoded", "another dtype", "another size", "wide pixels"],
)
def test_rows_that_do_not_fit_never_reach_the_device(runtime: FakeRuntime, batch) -> None:
    setup = make_setup(runtime)
    context = CudaContext(setup)
    with pytest.raises(EngineError):
        infer(context, batch)
    rows = pixels(2)
    np.testing.assert_allclose(
        infer(context, image_batch(rows))["logits"], wanted(rows, setup), rtol=1e-5, atol=0.01
    )


def test_a_passing_error_fails_its_batch_only(runtime: FakeRuntime) -> None:
    setup = make_setup(runtime)
    lost: list[object] = []
    context = CudaContext(setup, lost=lost.append)
    for call in ("upload", "launch", "download", "record"):
        runtime.fail_next(call, 2 if call == "launch" else 1)
        with pytest.raises(EngineError, match="memory" if call == "launch" else "CUDA failed"):
            infer(context, image_batch(pixels(3)))
        rows = pixels(5)
        np.testing.assert_allclose(
            infer(context, image_batch(rows))["logits"], wanted(rows, setup), rtol=1e-5, atol=0.01
        )
    assert not lost


def test_a_library_that_refuses_leaves_the_stream_at_rest(runtime: FakeRuntime) -> None:
    setup = make_setup(runtime, capturable=False)
    context = CudaContext(setup)
    program = setup.network.programs[0]
    program.refuse = True
    before = runtime.calls.count("synchronize")
    with pytest.raises(EngineError, match="the library refuses"):
        infer(context, image_batch(pixels(3)))
    assert runtime.calls.count("synchronize") == before + 1
    program.refuse = False
    rows = pixels(5)
    logits = infer(context, image_batch(rows))["logits"]
    np.testing.assert_allclose(logits, wanted(rows, setup), rtol=1e-5, atol=0.01)


@pytest.mark.parametrize("call", ["upload", "launch", "wait", "elapsed_ns", "download"])
def test_a_sticky_error_ends_the_context(runtime: FakeRuntime, call: str) -> None:
    lost: list[object] = []
    context = CudaContext(make_setup(runtime), lost=lost.append)
    runtime.fail_next(call, 700)
    for _ in range(2):
        with pytest.raises(InstanceLostError, match="cudaErrorIllegalAddress"):
            infer(context, image_batch(pixels(3)))
    assert len(lost) == 1
    context.close()
    context.close()


def test_a_device_found_lost_while_settling_is_lost(runtime: FakeRuntime) -> None:
    context = CudaContext(make_setup(runtime))
    runtime.fail_next("launch", 1)
    runtime.fail_next("synchronize", 719)
    with pytest.raises(InstanceLostError, match="cudaErrorLaunchFailure"):
        infer(context, image_batch(pixels(3)))


@pytest.mark.parametrize(
    "call", ["create_event", "allocate", "allocate_pinned", "begin_capture", "synchronize"]
)
def test_a_start_that_fails_leaves_nothing_behind(runtime: FakeRuntime, call: str) -> None:
    runtime.fail_next(call, 719)
    with pytest.raises(Exception, match="cudaErrorLaunchFailure"):
        CudaContext(make_setup(runtime))
    runtime.reset()
    setup = make_setup(runtime)
    runtime.fail_next("allocate_pinned", 2)
    with pytest.raises(Exception, match="cudaErrorMemoryAllocation"):
        CudaContext(setup)
    assert runtime.alive == 0


def test_closing_gives_everything_back(runtime: FakeRuntime) -> None:
    context = CudaContext(make_setup(runtime, float_input()))
    infer(context, tensor_batch(np.zeros((3, 3, HEIGHT, WIDTH), np.float32)))
    context.close()
    assert runtime.alive == 0
    with pytest.raises(EngineError, match="closed"):
        infer(context, image_batch(pixels(1)))
