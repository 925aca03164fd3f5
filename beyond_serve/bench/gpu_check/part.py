"""The parts of the check: what each needs, and how long it may take."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from beyond_serve.bench.gpu_check.findings import Skip
from beyond_serve.engines.onnxruntime_cuda import has_cuda_provider

Has = Callable[[str], bool]
"""Whether a module can be imported, by its name."""


@dataclass(frozen=True, slots=True)
class Option:
    """What of a part needs one of these modules; it is skipped without."""

    what: str
    modules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """
    Attributes:
        module: has `run(site, record)`; imported in the part's own process only.
        needs: modules without which there is nothing to do.
        options: what else would be skipped.
        limit_s, quick_s: the most that it may take; with --quick.
        after: parts whose results it uses.
    """

    name: str
    title: str
    module: str
    needs: tuple[str, ...]
    options: tuple[Option, ...]
    limit_s: float
    quick_s: float
    after: tuple[str, ...] = ()

    def limit(self, *, quick: bool) -> float:
        return self.quick_s if quick else self.limit_s

    def lacks(self, has: Has) -> str:
        """Why it cannot be done; empty if it can."""
        missing = [module for module in self.needs if not has(module)]
        return f"not installed: {', '.join(missing)}" if missing else ""

    def skips(self, has: Has) -> list[Skip]:
        """What of it cannot be done."""
        return [
            Skip(option.what, f"not installed: {' or '.join(option.modules)}")
            for option in self.options
            if not any(map(has, option.modules))
        ]


_ONNXRUNTIME_GPU = "onnxruntime-gpu"
TENSORRT = Option("TensorRT", ("tensorrt", "tensorrt_lean_bindings", "tensorrt_rtx"))
ONNXRUNTIME_CUDA = Option("ONNX Runtime's CUDA provider", (_ONNXRUNTIME_GPU,))

_HERE = "beyond_serve.bench.gpu_check.parts"
_CUDA = ("cuda.bindings",)
_TORCH = (*_CUDA, "torch")
_SERVER = (
    *("httptools", "orjson", "simplejpeg", "multipart", "grpc", "grpc_health", "grpc_reflection"),
    *("google.protobuf", "aiohttp", "prometheus_client"),
)
_BUILT = ("models",)
_NETWORKS = Option("ViT-Base/16, ResNet-50 and MobileNetV2", ("timm", "torchvision"))

PARTS: tuple[Part, ...] = (
    Part("machine", "The machine", f"{_HERE}.machine", _CUDA, (), 45, 15),
    Part("kernels", "Our kernels beside NumPy", f"{_HERE}.kernels", _CUDA, (), 30, 15),
    Part("context", "Contexts: every row, every bucket", f"{_HERE}.context", _TORCH, (), 75, 30),
    Part("models", "Building the models", f"{_HERE}.models", _TORCH, (_NETWORKS,), 170, 50),
    Part(
        "engines",
        "Engines alone, from resident input",
        f"{_HERE}.engines",
        _TORCH,
        (),
        120,
        30,
        _BUILT,
    ),
    Part(
        "batcher",
        "Through the batcher and slots, in one process",
        f"{_HERE}.batcher",
        _TORCH,
        (),
        75,
        20,
        _BUILT,
    ),
    Part(
        "steady", "Steady state: allocations and trace borders", f"{_HERE}.steady", _TORCH, (), 40, 15, _BUILT
    ),
    Part(
        "others",
        "TensorRT and ONNX Runtime's CUDA provider",
        f"{_HERE}.others",
        (*_TORCH, "onnx"),
        (TENSORRT, ONNXRUNTIME_CUDA),
        60,
        20,
    ),
    Part(
        "http",
        "Over HTTP: one front-end process, uint8 tensors",
        f"{_HERE}.http",
        (*_TORCH, *_SERVER),
        (),
        60,
        20,
        _BUILT,
    ),
)


def chosen(names: Sequence[str]) -> tuple[Part, ...]:
    """The parts of these names and those that they need, in their own order; all if none is named."""
    wanted = {*names, *(needed for part in PARTS if part.name in names for needed in part.after)}
    return tuple(part for part in PARTS if not names or part.name in wanted)


def has_module(name: str) -> bool:
    """Whether `name` can be found, without importing more than the packages around it."""
    if name == _ONNXRUNTIME_GPU:
        # Of the same modules as the package for CPUs.
        return has_cuda_provider()
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
