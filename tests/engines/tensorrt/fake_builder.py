"""TensorRT's builder, as far as `beyond-models build` uses it.

It keeps what it is told, and writes a plan that says so.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import onnx

Shape = tuple[int, ...]


class Severity(enum.Enum):
    ERROR = 1


class FakeBuilderTrt:
    """The module.

    Attributes:
        refuses: call → what is said instead of doing it.
        while_building: called at every step of a build.
        configs: all that were made.
        models: what was parsed, as onnx.ModelProto.

    With `flags` as TensorRT 10, which chooses precisions itself; without as TensorRT-RTX.
    """

    __version__ = "1.7.1.116"

    def __init__(self, *, flags: bool = False) -> None:
        self.refuses: dict[str, str] = {}
        self.while_building: Callable[[], None] = lambda: None
        self.configs: list[FakeBuilderConfig] = []
        self.models: list[Any] = []
        self.network_flags: list[int] = []
        names = ["TF32", "FP16", "BF16"] if flags else ["TF32"]
        self.BuilderFlag = enum.Enum("BuilderFlag", names)
        self.NetworkDefinitionCreationFlag = enum.IntEnum(
            "NetworkDefinitionCreationFlag", {"STRONGLY_TYPED": 1}
        )
        self.ComputeCapability = enum.Enum("ComputeCapability", ["NONE", "CURRENT", "SM80", "SM89", "SM120"])
        self.ILogger = FakeILogger
        self.IProgressMonitor = FakeProgressMonitor

    def Builder(self, logger: FakeILogger) -> FakeBuilder:  # noqa: N802
        assert logger.ready
        return FakeBuilder(self, logger)

    def OnnxParser(self, network: FakeNetworkDefinition, logger: FakeILogger) -> FakeOnnxParser:  # noqa: N802
        return FakeOnnxParser(self, network)


class FakeILogger:
    def __init__(self) -> None:
        self.ready = True

    def log(self, severity: Severity, text: str) -> None:
        raise NotImplementedError


class FakeProgressMonitor:
    def __init__(self) -> None:
        self.ready = True


class FakeNetworkDefinition:
    def __init__(self) -> None:
        self.name = "Unnamed Network 0"
        self.model: Any = None

    def get_input(self, index: int) -> SimpleNamespace:
        given = self.model.graph.input[index]
        dims = given.type.tensor_type.shape.dim
        return SimpleNamespace(name=given.name, shape=tuple(dim.dim_value or -1 for dim in dims))


class FakeOnnxParser:
    def __init__(self, trt: FakeBuilderTrt, network: FakeNetworkDefinition) -> None:
        self.trt, self.network = trt, network

    def parse(self, model: bytes) -> bool:
        if "parse" in self.trt.refuses:
            return False
        self.network.model = onnx.ModelProto.FromString(model)
        self.trt.models.append(self.network.model)
        return True

    @property
    def num_errors(self) -> int:
        return 1

    def get_error(self, index: int) -> SimpleNamespace:
        return SimpleNamespace(node_name=lambda: "node_7", desc=lambda: self.trt.refuses["parse"])


class FakeProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[Shape, Shape, Shape]] = {}

    def set_shape(self, name: str, least: Shape, best: Shape, most: Shape) -> None:
        self.shapes[name] = least, best, most


class FakeBuilderConfig:
    def __init__(self, trt: FakeBuilderTrt) -> None:
        self.trt = trt
        self.flags = {"TF32"}
        self.profiles: list[FakeProfile] = []
        self.progress_monitor: Any = None
        self.capabilities: list[Any] = []

    def set_flag(self, flag: enum.Enum) -> None:
        self.flags.add(flag.name)

    def clear_flag(self, flag: enum.Enum) -> None:
        self.flags.discard(flag.name)

    def add_optimization_profile(self, profile: FakeProfile) -> int:
        self.profiles.append(profile)
        return -1 if "add_optimization_profile" in self.trt.refuses else len(self.profiles) - 1

    @property
    def num_compute_capabilities(self) -> int:
        return len(self.capabilities)

    @num_compute_capabilities.setter
    def num_compute_capabilities(self, count: int) -> None:
        self.capabilities = [None] * count

    def set_compute_capability(self, capability: enum.Enum, index: int) -> bool:
        self.capabilities[index] = capability.name
        return capability.name != "CURRENT" or len(self.capabilities) == 1


class FakeBuilder:
    def __init__(self, trt: FakeBuilderTrt, logger: FakeILogger) -> None:
        self.trt, self.logger = trt, logger

    def create_network(self, flags: int) -> FakeNetworkDefinition:
        self.trt.network_flags.append(flags)
        return FakeNetworkDefinition()

    def create_builder_config(self) -> FakeBuilderConfig:
        self.trt.configs.append(config := FakeBuilderConfig(self.trt))
        return config

    def create_optimization_profile(self) -> FakeProfile:
        return FakeProfile()

    def build_serialized_network(
        self, network: FakeNetworkDefinition, config: FakeBuilderConfig
    ) -> bytes | None:
        monitor = config.progress_monitor
        assert monitor.ready, "IProgressMonitor.__init__ was not called"
        monitor.phase_start("Building engine", None, 3)
        for step in range(3):
            self.trt.while_building()
            if not monitor.step_complete("Building engine", step):
                return None
        monitor.phase_finish("Building engine")
        if "build_serialized_network" in self.trt.refuses:
            self.logger.log(Severity.ERROR, self.trt.refuses["build_serialized_network"])
            return None
        shapes = config.profiles[0].shapes if config.profiles else {}
        return b"vtrt" + json.dumps({"name": network.name, "shapes": shapes}).encode()
