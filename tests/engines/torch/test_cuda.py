"""The GPU's side over a fake PyTorch and a fake device.

It has never run on a GPU: these tests say that streams, buffers, pools, captures and errors are used as
PyTorch documents them, and no more.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.cuda.engine import CudaEngine
from beyond_serve.engines.cuda.program import Buffers
from beyond_serve.engines.cuda.runtime import CaptureError, CudaError
from beyond_serve.engines.describe import ModelDescription
from beyond_serve.engines.onnx_file import GraphFacts
from beyond_serve.engines.protocol import TensorSpec
from beyond_serve.engines.torch.cuda_errors import translate
from beyond_serve.engines.torch.cuda_network import TorchNetwork
from beyond_serve.engines.torch.facts import Pt2Facts
from beyond_serve.errors import EngineError, InstanceLostError, ModelLoadError
from tests.engines.batches import image_batch, infer
from tests.engines.cuda.fake_network import FakeKernels
from tests.engines.cuda.fake_runtime import ILLEGAL_ADDRESS, FakeRuntime
from tests.engines.torch.fake_torch import AcceleratorError, FakeTorch, OutOfMemoryError

INPUT = TensorSpec("pixels", "UINT8", (-1, 4, 5, 3))
OUTPUTS = (TensorSpec("logits", "FP32", (-1, 4)), TensorSpec("first", "UINT8", (-1,)))
FACTS = Pt2Facts(
    "aoti", GraphFacts((INPUT,), OUTPUTS, frozenset(), quantized=False), "bf16", "cuda", (9, 0), max_batch=16
)
DESCRIPTION = ModelDescription(
    "m.pt2", "pt2", (INPUT,), OUTPUTS, "NHWC", (4, 5), 3, None, "UINT8", "logits", False
)


CAPTURING = "cudaErrorStreamCaptureUnsupported"


def _failure(text: str) -> RuntimeError:
    return RuntimeError(f"CUDA error: {text}")


def model(pixels: np.ndarray) -> list[np.ndarray]:
    return [pixels[:, :, 0, 0].astype(np.float32), pixels[:, 0, 0, 1]]


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 4, 5, 3), np.uint8)


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture
def torch(runtime: FakeRuntime) -> FakeTorch:
    return FakeTorch(runtime, model)


def network_of(torch: FakeTorch, facts: Pt2Facts = FACTS) -> TorchNetwork:
    return TorchNetwork(torch, Path("m.pt2"), facts, 0, 8)


def engine_of(torch: FakeTorch) -> CudaEngine:
    config = EngineConfig("m.pt2", device="cuda:0", max_batch=8)
    return CudaEngine(
        "torch",
        config,
        DESCRIPTION,
        torch.runtime,
        lambda runtime: network_of(torch),
        make_kernels=FakeKernels,
    )


def check(context, count: int) -> None:
    rows = pixels(count)
    found = infer(context, image_batch(rows))
    for values, expected in zip(found.values(), model(rows), strict=True):
        np.testing.assert_array_equal(values, expected)


def test_batches_through_the_whole_engine(torch: FakeTorch) -> None:
    engine = engine_of(torch)
    contexts = [engine.create_context() for _ in range(2)]
    for count in (1, 3, 8, 11, 8):
        for context in contexts:
            check(context, count)
    assert (engine.info.precision, engine.info.max_batch) == ("bf16", 16)
    engine.close()
    assert torch.runtime.alive == 0


def test_weights_are_loaded_once_and_for_graphs(torch: FakeTorch) -> None:
    engine = engine_of(torch)
    engine.create_context()
    engine.create_context()
    assert torch.loads == [{"single_threaded": True, "device": 0}]


def test_a_context_captures_with_a_pool_of_its_own(torch: FakeTorch) -> None:
    engine = engine_of(torch)
    engine.create_context()
    first = set(map(id, torch.pools))
    engine.create_context()
    assert len(first) == 1
    assert len(set(map(id, torch.pools))) == 2
    assert len(torch.threads) == 2


def test_in_steady_state_only_graphs_are_launched(torch: FakeTorch) -> None:
    context = engine_of(torch).create_context()
    before, calls = dict(torch.running), list(torch.runtime.calls)
    for count in (1, 4, 8):
        check(context, count)
    assert torch.running == before
    assert torch.runtime.calls == calls


def test_the_first_run_is_not_on_a_contexts_stream(torch: FakeTorch) -> None:
    """Where constants are folded, which all streams need."""
    network_of(torch)
    assert torch.running == {0: 1}


def test_a_package_of_others_is_tried_out_first(torch: FakeTorch) -> None:
    described = Pt2Facts("aoti", FACTS.graph, "mixed", "cuda", described=True)
    network = network_of(torch, described)
    assert len(torch.loads) == 2
    assert network.spec.max_batch is None
    torch.fails.append(RuntimeError("input_handles[0]: unmatched dim value at 2"))
    with pytest.raises(
        ModelLoadError, match=r"does not take the input that its sidecar describes.*unmatched"
    ):
        network_of(torch, described)


def test_a_model_with_other_outputs_is_refused(runtime: FakeRuntime) -> None:
    with pytest.raises(ModelLoadError, match="1 outputs, not the 2"):
        network_of(FakeTorch(runtime, lambda given: model(given)[:1]))


def test_what_cannot_be_captured_runs_call_by_call(torch: FakeTorch) -> None:
    torch.runtime.fail_next("end_capture", 901)
    context = engine_of(torch).create_context()
    for count in (1, 3, 8):
        check(context, count)
    assert torch.running[max(torch.running)] > 3


def test_a_failed_capture_leaves_the_stream_usable(torch: FakeTorch) -> None:
    runtime = torch.runtime
    stream = runtime.create_stream()
    sizes = {"input": 60, "logits": 16, "first": 1}
    at = {name: runtime.allocate(8 * size) for name, size in sizes.items()}
    buffers = Buffers(8, at["input"], {name: at[name] for name in ("logits", "first")})
    program = network_of(torch).program(stream, buffers)
    program.enqueue(2)
    runtime.synchronize(stream)
    torch.fails.append(RuntimeError("no kernel for this"))
    with pytest.raises(CaptureError, match="no kernel for this"):
        program.capture(lambda: program.enqueue(2))
    replay = program.capture(lambda: program.enqueue(2))
    runtime.view(at["input"], np.uint8, (120,))[:] = np.arange(120)
    replay()
    runtime.synchronize(stream)
    expected = model(np.arange(120, dtype=np.uint8).reshape(2, 4, 5, 3))
    np.testing.assert_array_equal(runtime.view(at["logits"], np.float32, (2, 4)), expected[0])
    replay.close()
    replay.close()
    program.close()


def test_sizes_must_be_known(torch: FakeTorch) -> None:
    free = GraphFacts((TensorSpec("pixels", "FP32", (-1, 3, -1, -1)),), OUTPUTS, frozenset(), quantized=False)
    with pytest.raises(ModelLoadError, match="only the batch may be free"):
        network_of(torch, Pt2Facts("aoti", free, "fp32", "cuda"))


def test_no_room_for_weights_is_an_error_of_the_start(torch: FakeTorch) -> None:
    torch.fails.append(OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    with pytest.raises(ModelLoadError, match="the model's weights do not fit"):
        engine_of(torch)


def test_a_package_that_pytorch_refuses(torch: FakeTorch) -> None:
    torch.fails.append(RuntimeError("Failed to load the kernel: no kernel image is available"))
    with pytest.raises(ModelLoadError, match=r"PyTorch 2\.13\.0\+fake cannot load 'm\.pt2'.*no kernel image"):
        engine_of(torch)


def test_a_sticky_error_loses_the_instance(torch: FakeTorch) -> None:
    context = engine_of(torch).create_context()
    torch.runtime.fail_next("launch", ILLEGAL_ADDRESS)
    with pytest.raises(InstanceLostError, match="cudaErrorIllegalAddress"):
        infer(context, image_batch(pixels(1)))


@pytest.mark.parametrize(
    ("error", "code", "name"),
    [
        (OutOfMemoryError("CUDA out of memory."), 2, "cudaErrorMemoryAllocation"),
        (AcceleratorError("CUDA error: whatever", 719), 719, "cudaErrorLaunchFailure"),
        (AcceleratorError("CUDA error: whatever", 46), 46, "cudaError"),
        (_failure("an illegal memory access was encountered\nmore"), 700, "cudaErrorIllegalAddress"),
        (_failure("cudaErrorAssert, see the log"), 710, "cudaErrorAssert"),
        (_failure("operation not permitted when stream is capturing"), 900, CAPTURING),
        (RuntimeError("run failed: CUDA out of memory. Tried"), 2, "cudaErrorMemoryAllocation"),
        (RuntimeError("CUDA driver error: out of memory"), 2, "cudaErrorMemoryAllocation"),
    ],
)
def test_codes_of_pytorchs_errors(torch: FakeTorch, error: Exception, code: int, name: str) -> None:
    found = translate(torch, error, "a batch")
    assert isinstance(found, CudaError)
    assert (found.code, found.name, found.call) == (code, name, "a batch")


@pytest.mark.parametrize("text", ["shape mismatch", "CUDA error: of a new kind", "an illegal memory access"])
def test_other_errors_are_the_librarys(torch: FakeTorch, text: str) -> None:
    found = translate(torch, RuntimeError(text), "a batch")
    assert isinstance(found, EngineError)
    assert text in found.message


def test_float32_means_float32(torch: FakeTorch) -> None:
    network_of(torch)
    cudnn = torch.backends.cudnn
    assert not torch.backends.cuda.matmul.allow_tf32
    assert (cudnn.allow_tf32, cudnn.benchmark) == (False, True)


def test_a_lost_device_does_not_keep_the_network_from_closing(torch: FakeTorch) -> None:
    network = network_of(torch)

    def refuse() -> None:
        raise AcceleratorError("CUDA error: an illegal memory access was encountered", ILLEGAL_ADDRESS)

    torch.cuda.empty_cache = refuse
    network.close()
    with pytest.raises(EngineError, match="the engine is closed"):
        network.run(torch.zeros((1, 4, 5, 3), np.uint8, "cuda:0"))
