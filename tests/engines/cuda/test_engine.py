"""What an engine's contexts share, and what becomes of them when the device is full or lost."""

from __future__ import annotations

import numpy as np
import pytest

from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.cuda.engine import CudaEngine
from beyond_serve.engines.cuda.runtime import CudaError
from beyond_serve.errors import EngineError, InstanceLostError, ModelLoadError
from beyond_serve.preprocess.plan import Normalization
from tests.engines.batches import image_batch, infer
from tests.engines.cuda.fake_network import (
    BYTE_INPUT,
    HEIGHT,
    WIDTH,
    FakeKernels,
    FakeNetwork,
    description,
    expected,
    float_input,
)
from tests.engines.cuda.fake_runtime import FakeRuntime

CONFIG = EngineConfig("net.plan", device="cuda:0", max_batch=8, normalization=Normalization())


def make_engine(
    runtime: FakeRuntime, given=BYTE_INPUT, config=CONFIG, *, make_kernels=FakeKernels, **network
) -> CudaEngine:
    return CudaEngine(
        "tensorrt",
        config,
        description(given, network.get("fixed_batch")),
        runtime,
        lambda device: FakeNetwork(device, given, **network),
        make_kernels=make_kernels,
    )


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, HEIGHT, WIDTH, 3), np.uint8)


def check(context, count: int = 3) -> None:
    rows = pixels(count)
    logits = infer(context, image_batch(rows))["logits"]
    np.testing.assert_allclose(logits, expected(rows.transpose(0, 3, 1, 2)), rtol=1e-5, atol=0.01)


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime(memory_bytes=1_000_000)


def no_kernels(runtime: FakeRuntime) -> FakeKernels:
    raise ModelLoadError("NVRTC is not installed", "pip install nvidia-cuda-nvrtc")


def test_it_says_what_it_is(runtime: FakeRuntime) -> None:
    info = make_engine(runtime, float_input(), max_batch=6).info
    assert (info.engine, info.device, info.precision) == ("tensorrt", "cuda:0", "fp32")
    assert info.image_shape == (HEIGHT, WIDTH, 3)
    assert (info.max_batch, info.fixed_batch, info.ranks) == (6, None, 16)
    assert [(spec.name, spec.datatype, spec.shape) for spec in info.outputs] == [
        ("logits", "FP32", (-1, 20)),
        ("sums", "FP32", (-1, 1)),
    ]
    assert info.warnings == ()


def test_buckets_end_where_the_file_does(runtime: FakeRuntime) -> None:
    context = make_engine(runtime, max_batch=6).create_context()
    assert context.infer.__self__ is context
    assert make_engine(runtime, fixed_batch=4).info.fixed_batch == 4
    assert any("fixed batch of 4" in line for line in make_engine(runtime, fixed_batch=4).info.warnings)


def test_without_kernels_classes_are_ranked_on_the_cpu(runtime: FakeRuntime) -> None:
    engine = make_engine(runtime, make_kernels=no_kernels)
    assert engine.info.ranks == 0
    assert engine.info.warnings == ("classes are ranked on the CPU: NVRTC is not installed",)
    check(engine.create_context())


def test_without_kernels_nothing_normalises(runtime: FakeRuntime) -> None:
    with pytest.raises(ModelLoadError, match="NVRTC is not installed"):
        make_engine(runtime, float_input(), make_kernels=no_kernels)


def test_contexts_share_one_network(runtime: FakeRuntime) -> None:
    engine = make_engine(runtime)
    one, two = engine.create_context(), engine.create_context()
    check(one), check(two)
    one.close()
    check(two)
    engine.close()
    assert runtime.alive == 0
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.create_context()


def test_rows_are_pinned_and_let_go(runtime: FakeRuntime) -> None:
    engine = make_engine(runtime)
    arena = np.zeros((6, HEIGHT, WIDTH, 3), np.uint8)
    engine.adopt_rows(arena)
    assert runtime.alive == 1
    check(engine.create_context())
    engine.close()
    assert runtime.alive == 0


def test_rows_that_cannot_be_pinned_are_served_all_the_same(runtime: FakeRuntime, caplog) -> None:
    engine = make_engine(runtime)
    runtime.fail_next("pin", 2)
    arena = pixels(6)
    engine.adopt_rows(arena)
    assert "could not be pinned" in caplog.text
    context = engine.create_context()
    np.testing.assert_allclose(
        infer(context, image_batch(arena))["logits"],
        expected(arena.transpose(0, 3, 1, 2)),
        rtol=1e-5,
        atol=0.01,
    )


def test_rows_that_another_devices_engine_has_pinned(runtime: FakeRuntime, caplog) -> None:
    engine = make_engine(runtime)
    runtime.pin(arena := pixels(6))
    pinned = runtime.alive
    runtime.fail_next("pin", 712)
    engine.adopt_rows(arena)
    assert not caplog.records
    context = engine.create_context()
    staged = context._rows._staging
    staged[:] = 0
    check_rows = infer(context, image_batch(arena))["logits"]
    assert not staged.any()
    np.testing.assert_allclose(check_rows, expected(arena.transpose(0, 3, 1, 2)), rtol=1e-5, atol=0.01)
    engine.close()
    assert runtime.alive == pinned


def test_too_large_a_batch_says_which_would_fit(runtime: FakeRuntime) -> None:
    engine = make_engine(runtime, batch_bytes=180_000)
    with pytest.raises(
        ModelLoadError, match=r"batches of 8 does not fit .*Fake GPU \(cuda:0\): 0\.0 of"
    ) as told:
        engine.create_context()
    assert told.value.hint is not None
    assert told.value.hint.startswith("use --max-batch 5,")
    assert runtime.alive == 0
    fitting = make_engine(runtime, config=EngineConfig("net.plan", max_batch=5), batch_bytes=180_000)
    check(fitting.create_context())


def test_no_batch_fits(runtime: FakeRuntime) -> None:
    with pytest.raises(ModelLoadError) as told:
        make_engine(runtime, batch_bytes=2_000_000).create_context()
    assert told.value.hint == "give --instances a smaller number, or use a smaller model"


def test_weights_that_do_not_fit(runtime: FakeRuntime) -> None:
    def full(device: FakeRuntime) -> FakeNetwork:
        raise CudaError(2, "cudaErrorMemoryAllocation", "deserialising the plan")

    with pytest.raises(ModelLoadError, match="weights do not fit on Fake GPU"):
        CudaEngine("x", CONFIG, description(BYTE_INPUT), runtime, full, make_kernels=FakeKernels)


def test_a_lost_device_is_given_up_once_for_all_instances(runtime: FakeRuntime) -> None:
    engine = make_engine(runtime)
    engine.adopt_rows(pixels(6))
    one, two = engine.create_context(), engine.create_context()
    runtime.fail_next("wait", 700)
    assert not engine.lost
    with pytest.raises(InstanceLostError):
        check(one)
    assert engine.lost
    assert "reset" not in runtime.calls
    one.close()
    assert runtime.calls.count("reset") == 1
    assert runtime.alive == 0
    with pytest.raises(InstanceLostError, match="cudaErrorIllegalAddress"):
        check(two)
    two.close()
    for _ in range(2):
        with pytest.raises(
            InstanceLostError, match=r"lost to this process: .*cudaErrorIllegalAddress"
        ) as told:
            engine.create_context()
    assert "--instance-kind process" in (told.value.hint or "")
    engine.close()
    assert runtime.calls.count("reset") == 1


def test_a_start_that_loses_the_device(runtime: FakeRuntime) -> None:
    engine = make_engine(runtime)
    other = engine.create_context()
    runtime.fail_next("synchronize", 719)
    with pytest.raises(InstanceLostError):
        engine.create_context()
    assert engine.lost
    assert runtime.alive == 0
    with pytest.raises(InstanceLostError):
        check(other)
    other.close()
    engine.close()


def test_a_network_that_cannot_be_loaded(runtime: FakeRuntime) -> None:
    runtime.fail_next("bind", 46)
    with pytest.raises(ModelLoadError, match=r"'net\.plan' cannot be loaded on the GPU: bind"):
        make_engine(runtime)
