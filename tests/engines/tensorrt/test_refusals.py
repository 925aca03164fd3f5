"""What TensorRT refuses when a plan is loaded, bound or run, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from beyond_serve.engines.cuda.runtime import CudaError
from beyond_serve.errors import EngineError, ModelLoadError
from tests.engines.batches import image_batch, infer
from tests.engines.cuda.fake_network import HEIGHT, WIDTH, expected
from tests.engines.tensorrt.fake_trt import BYTES_A_ROW, FakePlan

ROW = (HEIGHT, WIDTH, 3)


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *ROW), np.uint8)


def check(context, count: int) -> None:
    rows = pixels(count)
    logits = infer(context, image_batch(rows))["logits"]
    np.testing.assert_allclose(logits, expected(rows.transpose(0, 3, 1, 2)), rtol=1e-5, atol=0.01)


@pytest.mark.parametrize(
    ("call", "doing"),
    [
        ("create_execution_context", "making an execution context"),
        ("set_optimization_profile_async", "choosing the profile"),
        ("set_input_shape", r"setting the shape \[8, 4, 5, 3\]"),
        ("set_tensor_address", "setting the input's address"),
        ("execute_async_v3", "running the plan"),
    ],
)
def test_what_tensorrt_refuses_is_an_error_with_its_words(
    installed, serve, device, call: str, doing: str
) -> None:
    trt = installed()
    engine = serve()
    before = device.alive
    trt.says[call] = "IExecutionContext::call: Error Code 3: API Usage Error (it is the wrong day)"
    with pytest.raises(EngineError, match=f"TensorRT failed at {doing}: .*it is the wrong day"):
        engine.create_context()
    assert device.alive == before, "nothing is left half made"
    trt.says.clear()
    check(engine.create_context(), 3)


def test_no_word_from_tensorrt(installed, serve) -> None:
    trt = installed()
    engine = serve()
    trt.says["execute_async_v3"] = ""
    with pytest.raises(EngineError, match="it does not say why"):
        engine.create_context()


def test_no_room_for_activations_says_which_batch_would_fit(installed, serve, device) -> None:
    installed(FakePlan(profiles=(((1, *ROW), (64, *ROW)),)))
    engine = serve(max_batch=64)
    device.facts = type(device.facts)(0, "Small GPU", (9, 0), device.allocated_bytes + 40 * BYTES_A_ROW)
    with pytest.raises(ModelLoadError, match="batches of 64 does not fit") as caught:
        engine.create_context()
    fits = int(caught.value.hint.split("--max-batch ")[1].split(",")[0])
    assert 16 <= fits < 40
    engine.close()
    check(serve(max_batch=fits).create_context(), fits)


def test_tensorrt_itself_out_of_memory_is_cudas_error(installed, serve, device) -> None:
    trt = installed()
    engine = serve(max_batch=1)
    trt.says["create_execution_context"] = "Error Code 2: OutOfMemory (Requested size was 9 bytes.)"
    with pytest.raises(ModelLoadError, match="batches of 1 does not fit"):
        engine.create_context()
    trt.plan.refuses = "Error Code 2: OutOfMemory (Requested size was 9 bytes.)"
    with pytest.raises(ModelLoadError, match=r"cannot be loaded on cuda:0.*cudaErrorMemoryAllocation"):
        serve(path=_copy(Path(engine._config.source)))


def _copy(path: Path) -> Path:
    other = path.with_name("other.plan")
    other.write_bytes(path.read_bytes())
    return other


def test_cudas_error_goes_before_tensorrts_words(installed, serve, device) -> None:
    trt = installed()
    network = serve()._network
    assert str(network.refusal("x")) == "TensorRT failed at x: it does not say why"
    trt.says["create_execution_context"] = (
        "Error Code 1: Cuda Runtime (In f at /x.cpp:1 (cudaError 700: illegal))"
    )
    with pytest.raises(CudaError) as caught:
        network.create_context()
    assert (caught.value.code, caught.value.call) == (700, "making an execution context")


def test_a_lost_device_goes_before_all_words(installed, serve, device) -> None:
    trt = installed()
    engine = serve()
    trt.says["execute_async_v3"] = "Error Code 1: Cuda Runtime (In f at /x.cpp:1 (cudaError 2: other))"
    device.fail_next("record", 700)
    with pytest.raises(CudaError):
        device.record(device.create_event(), 0)
    with pytest.raises(CudaError) as caught:
        engine._network.checked(False, "running the plan")
    assert caught.value.code == 700


def test_what_tensorrt_says_of_a_loaded_plan_reaches_the_log(installed, serve, caplog) -> None:
    trt = installed()
    engine = serve()
    assert caplog.text == ""
    trt.says["set_input_shape"] = "Error Code 3: said in passing"
    with pytest.raises(EngineError):
        engine.create_context()
    assert "TensorRT: Error Code 3: said in passing" in caplog.text


def test_host_code_runs_only_if_trusted(installed, serve, plan_path: Path) -> None:
    installed(FakePlan(host_code=True))
    with pytest.raises(ModelLoadError, match="brings host code of its own") as caught:
        serve()
    assert "--trust-plan" in caught.value.hint
