"""`beyond-models build`: a plan with normalisation and layout inside, made from an ONNX model."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beyond_serve.engines.describe import ModelDescription
from beyond_serve.engines.engine_info import batch_warning
from beyond_serve.engines.foreign import require
from beyond_serve.engines.image_input import image_input
from beyond_serve.engines.onnx_file import load_proto
from beyond_serve.engines.onnx_file import read_facts as read_onnx_facts
from beyond_serve.engines.tensorrt.builder import BuildOptions, OnStep, build_serialized, has_precision_flags
from beyond_serve.engines.tensorrt.flavour import find_builder
from beyond_serve.engines.tensorrt.kept_file import write_whole
from beyond_serve.engines.tensorrt.onnx_images import with_images_for_tensorrt
from beyond_serve.engines.tensorrt.onnx_precision import in_precision, own_precision
from beyond_serve.engines.tensorrt.reduced_check import check_reduced
from beyond_serve.engines.tensorrt.stamp import Stamp, stamp_text
from beyond_serve.errors import ConfigError, ModelLoadError

if TYPE_CHECKING:
    from beyond_serve.preprocess.plan import Normalization


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """
    Attributes:
        precision: "fp32", "fp16" or "bf16"; a model whose file is in another than float32 keeps its own.
        max_batch: the profile goes from 1 to this.
        opt_batch: the batch that kernels are chosen for; None for the largest.
        flavour: "auto", "tensorrt" or "rtx".
        compute_capabilities: for TensorRT-RTX; "8.9", "12.0", "current"; empty for all that it knows.
        image_size: (H, W) of the host's images.
        normalization: goes into the plan; None leaves 0 to 255.
    """

    output: Path
    precision: str = "fp16"
    max_batch: int = 64
    opt_batch: int | None = None
    flavour: str = "auto"
    compute_capabilities: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None
    normalization: Normalization | None = None


@dataclass(frozen=True, slots=True)
class BuiltPlan:
    """builder: "tensorrt-rtx-cu13 1.7.1.116". batches: smallest to largest."""

    builder: str
    precision: str
    nbytes: int
    batches: tuple[int, int]
    warnings: tuple[str, ...]


def build_plan(description: ModelDescription, request: PlanRequest, on_step: OnStep) -> BuiltPlan:
    """Build the ONNX model that `description` describes, and write it to `request.output`. Blocks, for
    minutes with the full TensorRT; KeyboardInterrupt ends it at the builder's next step.

    Raises:
        ConfigError: what is asked for makes no sense. ModelLoadError: it cannot be built.
        OSError: the plan cannot be written.
    """
    batches: tuple[int, int, int] | None = _profile(request)
    installed = find_builder(request.flavour)
    if request.compute_capabilities and installed.flavour.name != "rtx":
        raise ConfigError(
            "--compute-capability is TensorRT-RTX's; TensorRT builds for the GPU of this machine",
            "leave it out, or give --flavour rtx",
        )
    image, warnings = image_input(description, request.normalization, request.image_size)
    on_step("reading the model", 0, 1)
    proto = _with_weights(Path(description.source))
    own = own_precision(proto)
    stamp = Stamp(
        _checked_precision(own, request.precision), tuple(sorted(read_onnx_facts(proto).probabilities))
    )
    if stamp.precision != own and not has_precision_flags(installed.module):
        on_step(f"converting it to {stamp.precision}", 0, 1)
        converted = in_precision(proto, stamp.precision)
        if stamp.precision != "fp32":
            warnings += check_reduced(proto, converted, stamp.precision, description, image)
        proto = converted
    if description.batch is not None:
        batches = None
        warnings += (batch_warning(description.batch, freed=False),)
    options = BuildOptions(stamp.precision, batches, request.compute_capabilities, stamp_text(stamp))
    model = _serialized(with_images_for_tensorrt(proto, image))
    plan = _interruptible(lambda cancelled: build_serialized(installed, model, options, on_step, cancelled))
    write_whole(request.output, plan)
    name = f"{installed.flavour.package} {installed.module.__version__}"
    fixed = description.batch
    return BuiltPlan(name, stamp.precision, len(plan), (fixed or 1, fixed or request.max_batch), warnings)


def _profile(request: PlanRequest) -> tuple[int, int, int]:
    """The smallest batch, the one that kernels are chosen for, the largest.

    Raises:
        ConfigError: they are not in this order.
    """
    largest, best = request.max_batch, request.opt_batch or request.max_batch
    if not 1 <= best <= largest:
        raise ConfigError(
            f"--opt-batch {best} and --max-batch {largest}: 1 to the largest is what a plan takes",
            "leave --opt-batch out for the largest",
        )
    return 1, best, largest


def _checked_precision(own: str, requested: str) -> str:
    """Quantized models stay so: what is in between their int8 is in their file too."""
    if own in ("fp32", "int8", requested):
        return requested if own == "fp32" else own
    raise ModelLoadError(
        f"the model's file is in {own} already, and is not converted to {requested}", f"use --precision {own}"
    )


def _with_weights(path: Path) -> Any:
    proto = load_proto(path)
    helper = require("onnx.external_data_helper", "onnx")
    helper.load_external_data_for_model(proto, str(path.parent))
    return proto


def _serialized(proto: Any) -> bytes:
    try:
        content: bytes = proto.SerializeToString()
    except ValueError as error:
        raise ModelLoadError(
            "the model is larger than 2 GB, which one ONNX message cannot hold", "build a smaller model"
        ) from error
    return content


def _interruptible(build: Callable[[threading.Event], bytes]) -> bytes:
    """The builder runs in C++ for minutes, where Ctrl-C is not heard; this thread hears it."""
    cancelled = threading.Event()
    plan: Future[bytes] = Future()

    def work() -> None:
        try:
            plan.set_result(build(cancelled))
        except BaseException as error:  # all of it belongs to who waits
            plan.set_exception(error)

    # No pool: a pool that is interrupted while its thread starts does not wait for that thread.
    thread = threading.Thread(target=work, name="build")
    try:
        thread.start()
        return plan.result()
    except BaseException:
        cancelled.set()
        raise
    finally:
        with contextlib.suppress(RuntimeError):  # interrupted before it began
            thread.join()
