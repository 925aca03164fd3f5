"""One call of TensorRT's builder: an ONNX model's bytes in, a plan's bytes out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from beyond_serve.engines.tensorrt.flavour import Installed
from beyond_serve.engines.tensorrt.plan_log import PlanLog, make_logger
from beyond_serve.errors import ConfigError, ModelLoadError

OnStep = Callable[[str, int, int], None]
"""Hears of the phase, the steps done, and the steps in all; on any thread."""

_FLAGS = {"fp16": "FP16", "bf16": "BF16"}


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """
    Attributes:
        precision: "fp32", "fp16", "bf16" or "int8".
        batches: smallest, most frequent and largest; None where the model's batch is fixed.
        compute_capabilities: "8.9", "12.0", "current"; empty for all that TensorRT-RTX knows.
        network_name: is kept in the plan.
    """

    precision: str
    batches: tuple[int, int, int] | None
    compute_capabilities: tuple[str, ...]
    network_name: str


def has_precision_flags(trt: Any) -> bool:
    """TensorRT 10 chooses a precision for each layer; later ones compute in what the ONNX model says."""
    return hasattr(trt.BuilderFlag, "FP16")


def build_serialized(
    installed: Installed, model: bytes, options: BuildOptions, on_step: OnStep, cancelled: threading.Event
) -> bytes:
    """
    Raises:
        ModelLoadError: the model cannot be built.
        ConfigError: the installed TensorRT knows no such compute capability.
        InterruptedError: `cancelled` was set.
    """
    trt, log = installed.module, PlanLog()
    logger = make_logger(trt, log)
    builder = trt.Builder(logger)
    network = builder.create_network(_network_flags(trt, options.precision))
    _parse(trt, network, logger, model, log)
    network.name = options.network_name
    config = builder.create_builder_config()
    _configure(trt, config, options)
    if options.batches is not None:
        _add_profile(builder, config, network.get_input(0), options.batches)
    config.progress_monitor = monitor = _monitor(trt, on_step, cancelled)
    plan = builder.build_serialized_network(network, config)
    del monitor
    if cancelled.is_set():
        raise InterruptedError
    if plan is None:
        raise ModelLoadError(
            f"{installed.flavour.package} {trt.__version__} cannot build the model: {log.told()}",
            "try --precision fp32, another --compute-capability, or another version of TensorRT",
        )
    return bytes(plan)


def _network_flags(trt: Any, precision: str) -> int:
    if precision in _FLAGS and has_precision_flags(trt):
        return 0
    return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def _parse(trt: Any, network: Any, logger: Any, model: bytes, log: PlanLog) -> None:
    parser = trt.OnnxParser(network, logger)
    if parser.parse(model):
        return
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    told = "; ".join(" ".join(f"{error.node_name()}: {error.desc()}".split()) for error in errors[:2])
    raise ModelLoadError(
        f"TensorRT {trt.__version__} cannot read the model: {told or log.told()}",
        "export it with another opset, or without that operator; serve the .onnx itself meanwhile",
    )


def _configure(trt: Any, config: Any, options: BuildOptions) -> None:
    if options.precision in _FLAGS and has_precision_flags(trt):
        config.set_flag(getattr(trt.BuilderFlag, _FLAGS[options.precision]))
    if options.precision == "fp32":
        # TF32 keeps 10 bits of each factor: who asks for fp32 asks for all 23.
        config.clear_flag(trt.BuilderFlag.TF32)
    if not options.compute_capabilities:
        return
    config.num_compute_capabilities = len(options.compute_capabilities)
    for index, name in enumerate(options.compute_capabilities):
        if not config.set_compute_capability(_capability(trt, name), index):
            raise ConfigError(
                f"TensorRT-RTX does not build for {', '.join(options.compute_capabilities)}",
                "current stands alone, and needs a GPU; leave the flag out for all GPUs that it knows",
            )


def _capability(trt: Any, name: str) -> Any:
    known = trt.ComputeCapability.__members__
    wanted = "CURRENT" if name == "current" else "SM" + name.replace(".", "")
    if wanted not in known:
        names = ", ".join(f"{key[2:-1]}.{key[-1]}" for key in known if key.startswith("SM"))
        raise ConfigError(
            f"--compute-capability {name}: not known to TensorRT-RTX {trt.__version__}",
            f"choose of {names}, or current; leave it out for all of them",
        )
    return known[wanted]


def _add_profile(builder: Any, config: Any, given: Any, batches: tuple[int, int, int]) -> None:
    profile = builder.create_optimization_profile()
    row = tuple(given.shape)[1:]
    profile.set_shape(given.name, *((size, *row) for size in batches))
    if config.add_optimization_profile(profile) < 0:
        raise ModelLoadError(f"TensorRT refuses the batch sizes {batches}", "choose others with --max-batch")


def _monitor(trt: Any, on_step: OnStep, cancelled: threading.Event) -> Any:
    """Tells of every step, and ends the build at the next one once it is cancelled."""
    phases: dict[str, int] = {}

    def start(self: Any) -> None:
        trt.IProgressMonitor.__init__(self)

    def phase_start(_: Any, name: str, parent: str | None, steps: int) -> None:
        phases[name] = steps
        on_step(name, 0, steps)

    def step_complete(_: Any, name: str, step: int) -> bool:
        on_step(name, step + 1, phases.get(name, 0))
        return not cancelled.is_set()

    def phase_finish(_: Any, name: str) -> None:
        on_step(name, phases.get(name, 0), phases.pop(name, 0))

    calls = {
        "__init__": start,
        "phase_start": phase_start,
        "step_complete": step_complete,
        "phase_finish": phase_finish,
    }
    return type("Monitor", (trt.IProgressMonitor,), calls)()
