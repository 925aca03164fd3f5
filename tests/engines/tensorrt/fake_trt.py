"""TensorRT as far as the adapter uses it, computing in a FakeRuntime's memory; stricter than the real one.

A context must have its profile, shapes, addresses and activation memory before it runs, and must not be
changed once a graph has been captured from it. Its module stands in for `tensorrt` or, with `rtx`, for
`tensorrt_rtx`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.engines.cuda.fake_network import CLASSES, HEIGHT, WIDTH
from tests.engines.cuda.fake_runtime import FakeRuntime

Shape = tuple[int, ...]
BYTES_A_ROW = 1000


class DataType(enum.Enum):
    FLOAT = np.dtype(np.float32)
    HALF = np.dtype(np.float16)
    UINT8 = np.dtype(np.uint8)
    INT64 = np.dtype(np.int64)
    BF16 = "bf16"
    FP8 = "fp8"


class TensorIOMode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class TensorLocation(enum.Enum):
    DEVICE = 0
    HOST = 1


class Severity(enum.Enum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3


@dataclass
class FakePlan:
    """What a plan's bytes stand for.

    Attributes:
        inputs, outputs: by name; -1 is free.
        profiles: (smallest, largest) shape of the first input.
        made: an output's shape for an input's; default: the batch axis is the input's.
        refuses: what is logged instead of an engine.
        host_code: needs `engine_host_code_allowed`.
        activations: bytes that a context needs for so many rows.
    """

    inputs: dict[str, tuple[DataType, Shape]] = field(
        default_factory=lambda: {"pixels": (DataType.UINT8, (-1, HEIGHT, WIDTH, 3))}
    )
    outputs: dict[str, tuple[DataType, Shape]] = field(
        default_factory=lambda: {"logits": (DataType.FLOAT, (-1, CLASSES))}
    )
    profiles: tuple[tuple[Shape, Shape], ...] = (((1, HEIGHT, WIDTH, 3), (8, HEIGHT, WIDTH, 3)),)
    made: Callable[[Shape, Shape], Shape] = lambda given, shape: (given[0], *shape[1:])
    name: str = "Unnamed Network 0"
    refuses: str | None = None
    host_code: bool = False
    location: TensorLocation = TensorLocation.DEVICE
    activations: Callable[[int], int] = lambda rows: rows * BYTES_A_ROW
    layout: str = "Row major linear FP32 format (kLINEAR)"


class FakeTrt:
    """The module. State: scripts and what happened.

    Attributes:
        says: call → what it logs instead of succeeding, until taken away.
        alive: names of objects in the order they were made; they leave it when they are freed.
        freed: names in the order they were freed.
        contexts: how many have been made.
    """

    __version__ = "11.4.0.106"

    def __init__(self, device: FakeRuntime, plan: FakePlan | None = None, *, rtx: bool = False) -> None:
        self.device = device
        self.plan = plan or FakePlan()
        self.rtx = rtx
        self.says: dict[str, str] = {}
        self.alive: list[str] = []
        self.freed: list[str] = []
        self.configs: list[FakeRuntimeConfig] = []
        self.contexts = 0
        self.DataType, self.TensorIOMode, self.TensorLocation = DataType, TensorIOMode, TensorLocation
        self.ExecutionContextAllocationStrategy = enum.Enum(
            "ExecutionContextAllocationStrategy", ["STATIC", "ON_PROFILE_CHANGE", "USER_MANAGED"]
        )
        self.ILogger = FakeILogger
        self.CudaGraphStrategy = enum.Enum("CudaGraphStrategy", ["DISABLED", "WHOLE_GRAPH_CAPTURE"])
        self.DynamicShapesKernelSpecializationStrategy = enum.Enum(
            "DynamicShapesKernelSpecializationStrategy", ["LAZY", "EAGER", "NONE"]
        )

    def Runtime(self, logger: FakeILogger) -> FakeTrtRuntime:  # noqa: N802
        return FakeTrtRuntime(self, logger)

    def fails(self, call: str, logger: FakeILogger) -> bool:
        line = self.says.get(call)
        if line is None:
            return False
        if line:
            logger.log(Severity.ERROR, line)
        return True


class FakeILogger:
    def __init__(self) -> None:
        self.ready = True

    def log(self, severity: Severity, text: str) -> None:
        raise NotImplementedError


class Living:
    """Tells when it is freed."""

    def __init__(self, trt: FakeTrt, what: str) -> None:
        self.trt, self.what = trt, what
        trt.alive.append(what)

    def __del__(self) -> None:
        self.trt.alive.remove(self.what)
        self.trt.freed.append(self.what)


class FakeTrtRuntime(Living):
    def __init__(self, trt: FakeTrt, logger: FakeILogger) -> None:
        super().__init__(trt, "runtime")
        assert logger.ready, "ILogger.__init__ was not called"
        self.logger = logger
        self.engine_host_code_allowed = False

    def deserialize_cuda_engine(self, content: bytes) -> FakeEngine | None:
        plan = self.trt.plan
        self.logger.log(Severity.INFO, "Loaded engine size: 0 MiB")
        if plan.host_code and not self.engine_host_code_allowed:
            self.logger.log(
                Severity.ERROR,
                "Cannot deserialize engine with lean runtime since "
                "IRuntime::getEngineHostCodeAllowed() is false.",
            )
            return None
        if plan.refuses is not None:
            self.logger.log(Severity.ERROR, plan.refuses)
            return None
        return FakeEngine(self.trt, self.logger)


class FakeEngine(Living):
    def __init__(self, trt: FakeTrt, logger: FakeILogger) -> None:
        super().__init__(trt, "engine")
        self.logger = logger
        self.plan = trt.plan
        self.tensors = {**self.plan.inputs, **self.plan.outputs}
        self.num_io_tensors = len(self.tensors)
        self.num_optimization_profiles = max(1, len(self.plan.profiles))
        self.name = self.plan.name

    def __getattr__(self, name: str) -> Any:
        # Without `rtx` as TensorRT 10.0, which has no runtime configuration yet.
        if name == "create_runtime_config" and self.trt.rtx:
            return self._create_runtime_config
        raise AttributeError(name)

    def _create_runtime_config(self) -> FakeRuntimeConfig:
        self.trt.configs.append(config := FakeRuntimeConfig())
        return config

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.plan.inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return self.tensors[name][0]

    def get_tensor_shape(self, name: str) -> Shape:
        return self.tensors[name][1]

    def get_tensor_location(self, name: str) -> TensorLocation:
        return self.plan.location

    def get_tensor_format_desc(self, name: str, profile: int) -> str:
        assert 0 <= profile < self.num_optimization_profiles
        return self.plan.layout

    def is_shape_inference_io(self, name: str) -> bool:
        return False

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[Shape]:
        assert name in self.plan.inputs
        least, most = self.plan.profiles[profile]
        return [least, most, most]

    def get_device_memory_size_for_profile_v2(self, profile: int) -> int:
        return self.plan.profiles[profile][1][0] * BYTES_A_ROW

    def create_execution_context(self, how: Any) -> Any:
        strategy = how.strategy if isinstance(how, FakeRuntimeConfig) else how
        assert strategy.name == "USER_MANAGED"
        if self.trt.fails("create_execution_context", self.logger):
            return None
        from tests.engines.tensorrt.fake_context import FakeContext

        return FakeContext(self)


class FakeRuntimeCache:
    def __init__(self) -> None:
        self.content = b""

    def deserialize(self, blob: bytes) -> bool:
        if not blob.startswith(b"compiled"):
            return False
        self.content = blob
        return True

    def serialize(self) -> bytes:
        return self.content or b"compiled here"


class FakeRuntimeConfig:
    def __init__(self) -> None:
        self.strategy: Any = None
        self.cuda_graph_strategy: Any = None
        self.dynamic_shapes_kernel_specialization_strategy: Any = None
        self.cache: FakeRuntimeCache | None = None

    def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> FakeRuntimeCache:
        return FakeRuntimeCache()

    def set_runtime_cache(self, cache: FakeRuntimeCache) -> bool:
        self.cache = cache
        return True
