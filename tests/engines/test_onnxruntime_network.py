"""What ONNX Runtime's sessions on a GPU may answer, scripted: bindings, errors, no room."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.cuda.engine import CudaEngine
from beyond_serve.engines.cuda.program import Buffers, NetworkSpec
from beyond_serve.engines.cuda.runtime import CaptureError, CudaError
from beyond_serve.engines.describe import describe_model
from beyond_serve.engines.onnxruntime_network import OnnxRuntimeNetwork, OnnxRuntimeProgram, Provider
from beyond_serve.engines.protocol import TensorSpec
from beyond_serve.errors import EngineError, InstanceLostError, ModelLoadError
from tests.engines.batches import image_batch, infer
from tests.engines.cuda.fake_runtime import OUT_OF_MEMORY, FakeRuntime, cuda_error
from tests.engines.models import Net, images, write

SPEC = NetworkSpec(
    TensorSpec("pixels", "UINT8", (-1, 12, 16, 3)),
    (TensorSpec("logits", "FP32", (-1, 5)), TensorSpec("marks", "BF16", (-1, 2))),
    None,
    None,
    "fp32",
)
ILLEGAL = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Conv node. "
    "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=h ; expr=cudaStreamSync"
)
NO_ROOM = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer of size 9"
)


class FakeBinding:
    def __init__(self) -> None:
        self.bound: list[tuple] = []

    def bind_input(self, *arguments) -> None:
        self.bound.append(arguments)

    bind_output = bind_input


@dataclass(eq=False)
class FakeSession:
    """memory: where its input is. room: the largest batch that fits. fails: what each run raises."""

    providers: tuple[str, ...] = ("CUDAExecutionProvider", "CPUExecutionProvider")
    memory: str = "Cuda"
    room: int = 99
    fails: str | None = None

    def __post_init__(self) -> None:
        self.bindings: list[FakeBinding] = []
        self.runs: list[FakeBinding] = []

    def get_providers(self) -> list[str]:
        return list(self.providers)

    def get_input_memory_infos(self) -> list:
        return [SimpleNamespace(name=self.memory)]

    def io_binding(self) -> FakeBinding:
        self.bindings.append(binding := FakeBinding())
        return binding

    def run_with_iobinding(self, binding: FakeBinding, options: object) -> None:
        if self.fails is not None:
            raise RuntimeError(self.fails)
        if binding.bound[0][4][0] > self.room:
            raise RuntimeError(NO_ROOM)
        self.runs.append(binding)


def program(session: FakeSession, runtime: FakeRuntime, *, batch: int = 4) -> OnnxRuntimeProgram:
    provider = Provider("CUDAExecutionProvider", "cuda", 3)
    network = OnnxRuntimeNetwork(runtime, provider, SPEC, lambda providers: session)
    return network.program(runtime.create_stream(), Buffers(batch, 1000, {"logits": 2000, "marks": 3000}))


def test_each_size_is_bound_once_to_the_contexts_buffers() -> None:
    session = FakeSession()
    made = program(session, FakeRuntime())
    for rows in (2, 4, 2):
        made.enqueue(rows)
    assert [binding.bound[0][4][0] for binding in session.runs] == [4, 2, 4, 2]
    assert len(session.bindings) == 2
    assert session.bindings[1].bound == [
        ("pixels", "cuda", 3, np.uint8, [2, 12, 16, 3], 1000),
        ("logits", "cuda", 3, np.float32, [2, 5], 2000),
        ("marks", "cuda", 3, 16, [2, 2], 3000),
    ]


def test_a_provider_that_did_not_start_is_no_gpu() -> None:
    with pytest.raises(ModelLoadError, match="CUDAExecutionProvider does not start") as raised:
        program(FakeSession(providers=("CPUExecutionProvider",)), FakeRuntime())
    assert "onnxruntime-gpu[cuda,cudnn]" in (raised.value.hint or "")


def test_an_input_on_the_cpu_is_refused() -> None:
    with pytest.raises(ModelLoadError, match="first node runs on the CPU"):
        program(FakeSession(memory="Cpu"), FakeRuntime())


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (ILLEGAL, 700),
        (NO_ROOM, OUT_OF_MEMORY),
        ("CUDA failure 2: out of memory ; GPU=0 ; expr=cudaMalloc((void**)&p, size);", OUT_OF_MEMORY),
        ("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0", OUT_OF_MEMORY),
    ],
)
def test_words_become_codes(text: str, code: int) -> None:
    session = FakeSession()
    made = program(session, FakeRuntime())
    session.fails = text
    with pytest.raises(CudaError) as raised:
        made.enqueue(4)
    assert raised.value.code == code
    assert "ONNX Runtime" in str(raised.value)
    assert "[ONNXRuntimeError]" not in str(raised.value)


def test_another_librarys_failure_is_the_models_unless_the_device_is_lost() -> None:
    session, runtime = FakeSession(), FakeRuntime()
    made = program(session, runtime)
    session.fails = "/src/a.cc:6 Run [ONNXRuntimeError] : 1 : FAIL : CUDNN failure 5000: EXECUTION_FAILED"
    with pytest.raises(EngineError, match="ONNX Runtime failed: CUDNN failure 5000"):
        made.enqueue(4)
    runtime.last_error = lambda: cuda_error(719, "an earlier call")  # type: ignore[method-assign]
    with pytest.raises(CudaError) as raised:
        made.enqueue(4)
    assert raised.value.code == 719


def test_a_session_that_found_no_room_lets_go_of_its_memory() -> None:
    session = FakeSession(room=2)
    alive = weakref.ref(session)
    make = [session]
    provider = Provider("CUDAExecutionProvider", "cuda", 0)
    runtime = FakeRuntime()
    network = OnnxRuntimeNetwork(runtime, provider, SPEC, lambda providers: make.pop())
    del session
    with pytest.raises(CudaError) as raised:
        network.program(runtime.create_stream(), Buffers(4, 0, {"logits": 0, "marks": 0}))
    assert raised.value.code == OUT_OF_MEMORY
    assert alive() is None


def gpu_engine(source: str, session: FakeSession) -> CudaEngine:
    runtime = FakeRuntime()
    spec = replace(SPEC, outputs=SPEC.outputs[:1])
    provider = Provider("CUDAExecutionProvider", "cuda", 0)
    return CudaEngine(
        "onnxruntime",
        EngineConfig(source, device="cuda:0", max_batch=8),
        describe_model(source),
        runtime,
        lambda device: OnnxRuntimeNetwork(device, provider, spec, lambda providers: session),
        make_kernels=lambda device: SimpleNamespace(rank=lambda **_: None),  # type: ignore[arg-type]
    )


def test_a_start_without_room_says_which_batch_would_fit(tmp_path: Path) -> None:
    engine = gpu_engine(
        write(tmp_path / "net.onnx", Net(datatype="UINT8", layout="NHWC")), FakeSession(room=5)
    )
    with pytest.raises(ModelLoadError, match="batches of 8 does not fit") as raised:
        engine.create_context()
    assert "--max-batch 5" in (raised.value.hint or "")


def test_a_lost_device_loses_the_instance(tmp_path: Path) -> None:
    session = FakeSession()
    engine = gpu_engine(write(tmp_path / "net.onnx", Net(datatype="UINT8", layout="NHWC")), session)
    context = engine.create_context()
    infer(context, image_batch(images(2)))
    session.fails = ILLEGAL
    with pytest.raises(InstanceLostError, match="illegal memory access"):
        infer(context, image_batch(images(2)))
    with pytest.raises(InstanceLostError, match="lost to this process"):
        engine.create_context()


def test_it_is_enqueued_call_by_call() -> None:
    made = program(FakeSession(), FakeRuntime())
    with pytest.raises(CaptureError, match="which a graph would repeat"):
        made.capture(lambda: made.enqueue(4))
