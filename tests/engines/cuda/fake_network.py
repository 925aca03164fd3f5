"""A network and kernels that compute with NumPy in a FakeRuntime's memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from beyond_serve.engines.classify import classify
from beyond_serve.engines.cuda.graphs import GraphReplay, capture_replay
from beyond_serve.engines.cuda.program import Buffers, NetworkSpec
from beyond_serve.engines.cuda.runtime import CaptureError
from beyond_serve.engines.describe import ModelDescription
from beyond_serve.engines.image_input import ImageInput
from beyond_serve.engines.protocol import EngineInfo, TensorSpec
from beyond_serve.errors import EngineError
from tests.engines.cuda.fake_runtime import FakeRuntime

HEIGHT, WIDTH, CLASSES = 4, 5, 20
INFER_NS = 70_000
FLOATS = {"FP32": np.float32, "FP16": np.float16}


def float_input(datatype: str = "FP32") -> TensorSpec:
    return TensorSpec("pixels", datatype, (-1, 3, HEIGHT, WIDTH))


BYTE_INPUT = TensorSpec("image", "UINT8", (-1, HEIGHT, WIDTH, 3))


def weights(classes: int = CLASSES) -> np.ndarray:
    return np.random.default_rng(5).standard_normal((3 * HEIGHT * WIDTH, classes)).astype(np.float32)


def description(
    given: TensorSpec, batch: int | None = None, classes: int = CLASSES, scores: str | None = "logits"
) -> ModelDescription:
    layout = "NCHW" if given.shape[1] == 3 else "NHWC"
    outputs = (TensorSpec("logits", "FP32", (-1, classes)), TensorSpec("sums", "BF16", (-1, 1)))
    return ModelDescription(
        "net.plan",
        "plan",
        (given,),
        outputs,
        layout,
        (HEIGHT, WIDTH),
        3,
        batch,
        given.datatype,
        scores,
        False,
    )


@dataclass
class FakeNetwork:
    """logits = input (in channels-first order, as floats) · weights; sums = the input's sum, in bfloat16.

    Attributes:
        batch_bytes: what a program takes of the device for each row of its largest batch.
    """

    runtime: FakeRuntime
    input: TensorSpec
    max_batch: int | None = None
    fixed_batch: int | None = None
    classes: int = CLASSES
    capturable: bool = True
    batch_bytes: int = 0
    closed: bool = False
    programs: list[FakeProgram] = field(default_factory=list)

    @property
    def spec(self) -> NetworkSpec:
        described = description(self.input, classes=self.classes)
        return NetworkSpec(self.input, described.outputs, self.max_batch, self.fixed_batch, "fp32")

    def program(self, stream: int, buffers: Buffers) -> FakeProgram:
        self.programs.append(program := FakeProgram(self, stream, buffers))
        return program

    def close(self) -> None:
        assert all(program.closed for program in self.programs), "weights end after what uses them"
        self.closed = True


class FakeProgram:
    def __init__(self, network: FakeNetwork, stream: int, buffers: Buffers) -> None:
        self.network = network
        self.stream = stream
        self.buffers = buffers
        self.closed = self.capturing = self.refuse = False
        self.enqueued: list[int] = []
        runtime = network.runtime
        self.workspace = (
            runtime.allocate(buffers.batch * network.batch_bytes) if network.batch_bytes else None
        )

    def enqueue(self, rows: int) -> None:
        if self.capturing and rows != self.enqueued[-1]:
            # As TensorRT: what a change of shape needs is done by the next run, and cannot be recorded.
            raise EngineError("the shape has changed since the last run")
        if self.refuse:
            raise EngineError("the library refuses")
        self.enqueued.append(rows)
        runtime, given = self.network.runtime, self.network.input
        dtype = np.uint8 if given.datatype == "UINT8" else FLOATS[given.datatype]

        def compute() -> None:
            values = runtime.view(self.buffers.input, dtype, (rows, *given.shape[1:])).astype(np.float32)
            if given.datatype == "UINT8":
                values = values.transpose(0, 3, 1, 2)
            flat = values.reshape(rows, -1)
            classes = self.network.classes
            runtime.view(self.buffers.outputs["logits"], np.float32, (rows, classes))[:] = flat @ weights(
                classes
            )
            sums = flat.sum(axis=1, keepdims=True).view(np.uint32) >> 16
            runtime.view(self.buffers.outputs["sums"], np.uint16, (rows, 1))[:] = sums

        runtime.do(self.stream, compute, INFER_NS)

    def capture(self, enqueue: Callable[[], None]) -> GraphReplay:
        if not self.network.capturable:
            raise CaptureError("operation not permitted when stream is capturing")
        self.capturing = True
        try:
            return capture_replay(self.network.runtime, self.stream, enqueue)
        finally:
            self.capturing = False

    def close(self) -> None:
        self.closed = True
        if self.workspace is not None:
            self.network.runtime.free(self.workspace)


def normalised(rows: np.ndarray, image: ImageInput) -> np.ndarray:
    """float [n, 3, H, W] of uint8 [n, H, W, 3]."""
    scaled = rows.astype(np.float32) * image.gain - image.offset
    return scaled.transpose(0, 3, 1, 2).astype(FLOATS[image.datatype])


def expected(values: np.ndarray, classes: int = CLASSES) -> np.ndarray:
    """Logits [n, classes] of the network's own input [n, 3, H, W]."""
    return values.astype(np.float32).reshape(len(values), -1) @ weights(classes)


class FakeKernels:
    def __init__(self, runtime: FakeRuntime) -> None:
        self.runtime = runtime

    def normalise(self, *, source: int, target: int, rows: int, image: ImageInput, stream: int) -> None:
        def work() -> None:
            given = self.runtime.view(source, np.uint8, (rows, *image.host_shape))
            shape = (rows, *image.row_shape)
            self.runtime.view(target, FLOATS[image.datatype], shape)[:] = normalised(given, image)

        self.runtime.do(stream, work)

    def rank(
        self, *, scores, datatype, rows, classes, k, probabilities, top_scores, top_indices, stream
    ) -> None:
        assert datatype == "FP32"
        info = EngineInfo(
            "fake", "fp32", "cuda:0", (), (), scores="s", scores_are_probabilities=probabilities
        )

        def work() -> None:
            given = self.runtime.view(scores, np.float32, (rows, classes))
            best = classify({"s": given}, info, k)
            self.runtime.view(top_scores, np.float32, (rows, k))[:] = best.top_scores
            self.runtime.view(top_indices, np.int32, (rows, k))[:] = best.top_indices

        self.runtime.do(stream, work)
