"""Which of NVIDIA's three TensorRT packages is installed and can run a plan.

All three have the same runtime calls, so that one adapter serves them; only two can build plans.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from beyond_serve.engines.cuda.probe import require_device
from beyond_serve.engines.foreign import one_line
from beyond_serve.errors import ModelLoadError


class Flavour(NamedTuple):
    """
    Attributes:
        name: as `--flavour` takes it.
        modules: where it may be; NVIDIA's front packages are not always installed with the bindings.
        package: what pip installs, for CUDA 13.
        plans: whose plans it runs, "tensorrt" or "rtx"; the two kinds are not exchangeable.
        what: a sentence for those who have none.
    """

    name: str
    modules: tuple[str, ...]
    package: str
    plans: str
    what: str


FLAVOURS = (
    Flavour(
        "tensorrt",
        ("tensorrt", "tensorrt_bindings"),
        "tensorrt-cu13",
        "tensorrt",
        "builds and runs plans on data-centre GPUs",
    ),
    Flavour(
        "lean",
        ("tensorrt_lean", "tensorrt_lean_bindings"),
        "tensorrt-lean-cu13",
        "tensorrt",
        "only runs plans that tensorrt built version-compatible",
    ),
    Flavour(
        "rtx",
        ("tensorrt_rtx", "tensorrt_rtx_bindings"),
        "tensorrt-rtx-cu13",
        "rtx",
        "builds and runs plans of its own, on RTX GPUs",
    ),
)
"""In the order in which they are looked for."""

BUILDERS = ("tensorrt", "rtx")

Import = Callable[[str], Any]


class Installed(NamedTuple):
    """module: the imported Python module, which TensorRT's documentation calls `trt`."""

    flavour: Flavour
    module: Any


def find_runtime(
    plans: str | None, device: str, import_module: Import = importlib.import_module
) -> Installed:
    """The first flavour that is installed and runs such plans. The driver is asked first: without one the
    lean runtime crashes the process as soon as an object of it is used.

    Args:
        plans: "tensorrt" or "rtx"; None where the file does not say.
        device: "cuda:N".

    Raises:
        ModelLoadError: there is no such device, or nothing installed runs it.
    """
    _require_gpu(device, "a plan runs nowhere else: serve the ONNX model it was built from")
    able = [flavour for flavour in FLAVOURS if plans in (None, flavour.plans)]
    broken: list[str] = []
    for found in _installed(able, broken, import_module):
        return found
    raise _none(able, "run", broken)


def find_builder(flavour: str, import_module: Import = importlib.import_module) -> Installed:
    """The flavour that builds plans.

    Args:
        flavour: "auto", "tensorrt" or "rtx".

    Raises:
        ModelLoadError: none is installed, or not this one, or it needs a GPU and there is none.
    """
    able = [known for known in FLAVOURS if known.name in BUILDERS and flavour in ("auto", known.name)]
    broken: list[str] = []
    for found in _installed(able, broken, import_module):
        if found.flavour.name == "tensorrt":
            # It times its kernels on the GPU; TensorRT-RTX leaves that to the GPU that will run them.
            _require_gpu("cuda:0", "build on the machine that will run the plan")
        return found
    raise _none(able, "build", broken)


def _require_gpu(device: str, otherwise: str) -> None:
    try:
        require_device(device)
    except ModelLoadError as error:
        raise ModelLoadError(
            error.message, f"run nvidia-smi to see what the driver says; {otherwise}"
        ) from error


def _installed(able: Sequence[Flavour], broken: list[str], import_module: Import) -> Iterator[Installed]:
    for flavour in able:
        for name in flavour.modules:
            try:
                yield Installed(flavour, import_module(name))
            except ModuleNotFoundError as error:
                if error.name != name:
                    broken.append(f"{name} cannot be imported: {one_line(error)}")
            except (ImportError, OSError) as error:
                broken.append(f"{name} cannot be imported: {one_line(error)}")
            else:
                return


def _none(able: Sequence[Flavour], do: str, broken: Sequence[str]) -> ModelLoadError:
    choices = "; or ".join(f"pip install {flavour.package} ({flavour.what})" for flavour in able)
    if broken:
        return ModelLoadError(f"no TensorRT that can {do} this plan works here: {'; '.join(broken)}", choices)
    return ModelLoadError(f"no TensorRT that can {do} this plan is installed", choices)
