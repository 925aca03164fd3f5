"""From a model's configuration to a `Model` that serves: everything slow runs off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from beyond_serve.batching import Admission, Batcher, Clock
from beyond_serve.demo.location import demo_model
from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.cores import available_cores
from beyond_serve.engines.describe import FORMATS, ModelDescription, describe_model
from beyond_serve.engines.group import InstanceGroup
from beyond_serve.engines.instance import InstanceEvents, RunningInstance
from beyond_serve.engines.process_instance import ChildProcess
from beyond_serve.engines.protocol import EngineInfo
from beyond_serve.engines.slots import SlotArena
from beyond_serve.errors import BeyondError, ModelLoadError
from beyond_serve.preprocess.host import HostPreprocessor
from beyond_serve.preprocess.labels import load_labels
from beyond_serve.preprocess.plan import Fidelity, PreprocessPlan
from beyond_serve.preprocess.presets import load_plan
from beyond_serve.server.backends import Backend, load_here, load_in_children
from beyond_serve.server.batch_costs.learn import learn_costs
from beyond_serve.server.batch_policy import asked_max_batch, largest_batch, limit_warning, make_policy
from beyond_serve.server.config import ModelConfig
from beyond_serve.server.device_list import present_devices
from beyond_serve.server.devices import Devices
from beyond_serve.server.fidelity_ladder import FidelityLadder
from beyond_serve.server.joined_info import joined_info
from beyond_serve.server.ladder_rungs import parse_ladder
from beyond_serve.server.model import Model
from beyond_serve.server.stage import ImageLine, PreprocessStage


@dataclass(frozen=True, slots=True)
class Shared:
    """What all models of a server share."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    stage: PreprocessStage
    decode_workers: int
    devices: Devices
    find_model: Callable[[str], Model | None]


@dataclass(frozen=True, slots=True)
class Source:
    """What was learned of a model from its files, before its engines are loaded.

    engines: one for each device.
    """

    engines: tuple[EngineConfig, ...]
    plan: PreprocessPlan | None
    plan_from: str
    labels: tuple[str, ...] | None

    @property
    def engine(self) -> EngineConfig:
        """The first device's; the others differ in the device alone."""
        return self.engines[0]


class Describe(Protocol):
    """`describe_model`, here or in a child."""

    def __call__(self, source: str, *, trust_plan: bool, device: str) -> ModelDescription: ...


def read_source(config: ModelConfig, describe: Describe = describe_model) -> Source:
    """Read the model's description, preprocessing and labels, and find its devices. Blocks.

    Raises:
        ModelLoadError, ConfigError: a file or a device is missing or makes no sense.
    """
    path = str(demo_model()) if config.source == "demo" else config.source
    devices = present_devices(config.device, path)
    plan: PreprocessPlan | None = None
    plan_from, labels = "none: the engine takes the bytes as they are", None
    description = describe(path, trust_plan=config.trust_plan, device=devices[0])
    if description.takes_images:
        beside = None if path.startswith(("null:", "sim:")) else Path(path)
        plan, plan_from = load_plan(beside, description.image_size)
        labels = load_labels(beside) if beside is not None else None
    engine = EngineConfig(
        source=path,
        engine=config.engine,
        precision=config.precision,
        device=devices[0],
        threads=max(1, available_cores() // (config.instances * len(devices))),
        instances=config.instances if config.instance_kind == "thread" else 1,
        max_batch=asked_max_batch(config),
        trust_plan=config.trust_plan,
        image_size=plan.output_shape[:2] if plan is not None else None,
        normalization=plan.normalization if plan is not None else None,
    )
    return Source(tuple(replace(engine, device=device) for device in devices), plan, plan_from, labels)


async def open_model(config: ModelConfig, shared: Shared) -> tuple[Model, str]:
    """Load `config` and return the model, ready, and where its preprocessing came from.

    Raises:
        ModelLoadError, ConfigError: it cannot be served; nothing is left behind.
    """
    source, backend = await _load(config)
    try:
        model = await _model(config, source, backend, shared)
    except BaseException:
        await asyncio.to_thread(backend.close)
        raise
    await _start(model)
    try:
        await learn_costs(model, source.engine, shared.clock)
    except BaseException:
        await model.close()
        raise
    return model, source.plan_from


async def _load(config: ModelConfig) -> tuple[Source, Backend]:
    if config.instance_kind != "process":
        source = await asyncio.to_thread(read_source, config)
        return source, await load_here(source.engines)
    # Described in the child: reading some files opens the device, which this process is not to have.
    child = await asyncio.to_thread(ChildProcess, f"{config.name}-0")
    try:
        source = await asyncio.to_thread(read_source, config, child.describe)
    except BaseException:
        await asyncio.to_thread(child.close)
        raise
    return source, await load_in_children(config.name, child, source.engines)


async def _model(config: ModelConfig, source: Source, backend: Backend, shared: Shared) -> Model:
    """The model with its instances, not yet started."""
    info = joined_info(config.name, backend.infos)
    check_precision(config, info)
    info = replace(info, warnings=(*info.warnings, *limit_warning(config, info)))
    plan = source.plan if info.image_shape is not None else None
    if config.ladder and plan is None:
        raise ModelLoadError(
            f"'{config.name}' is not preprocessed here, so it has no ladder", "leave --ladder out for it"
        )
    admission = Admission(config.max_queue, config.levels, int(config.max_queue_mb * 1024 * 1024))
    policy = make_policy(config, len(source.engines))
    batcher = Batcher(policy, admission, shared.clock, max_batch=largest_batch(config, info))
    batcher.share_devices(shared.devices.shares(backend.infos), config.weight)
    model = Model(
        config,
        info,
        plan=plan,
        labels=source.labels,
        clock=shared.clock,
        admission=admission,
        batcher=batcher,
    )
    batcher.observer = model
    await _add_instances(model, batcher, backend, shared)
    return model


async def _add_instances(model: Model, batcher: Batcher, backend: Backend, shared: Shared) -> None:
    """The group, and the arena from which its instances read."""
    places = instance_places(model.config, backend.infos)
    if (shape := model.info.image_shape) is not None:
        count = slot_count(len(places), batcher.max_batch, shared.decode_workers)
        arena = await asyncio.to_thread(backend.make_rows, count, shape)
        _connect(model, batcher, arena, shared)

    def make(name: str, events: InstanceEvents) -> RunningInstance:
        return backend.instance(places[name], name, events)

    model.group = InstanceGroup(tuple(places), make, batcher, shared.clock)
    model.metrics.devices = {name: backend.infos[place].device for name, place in places.items()}
    model.release = backend.close


def instance_places(config: ModelConfig, infos: Sequence[EngineInfo]) -> dict[str, int]:
    """Each instance's name and the position of its device; of several devices the name tells which."""
    if len(infos) == 1:
        return {f"{config.name}-{number}": 0 for number in range(config.instances)}
    return {
        f"{config.name}-{info.device}-{number}": place
        for place, info in enumerate(infos)
        for number in range(config.instances)
    }


def slot_count(instances: int, max_batch: int, workers: int) -> int:
    """Rows for a batch running and a batch forming on each instance, and for what is being decoded."""
    return 2 * instances * max_batch + 2 * workers


def check_precision(config: ModelConfig, info: EngineInfo) -> None:
    """A file that was compiled for a precision computes in that.

    Raises:
        ModelLoadError: another is asked for.
    """
    kind = FORMATS.get(Path(config.source).suffix.lower())
    if kind in ("plan", "pt2") and config.precision not in ("auto", info.precision):
        raise ModelLoadError(
            f"'{config.source}' was built to compute in {info.precision} and not in {config.precision}",
            "use --precision auto, or build the file anew with beyond-models build",
        )


def _connect(model: Model, batcher: Batcher, arena: SlotArena, shared: Shared) -> None:
    assert model.plan is not None
    preprocessor = HostPreprocessor(
        model.plan, model.config.fidelity, tolerate_corrupt=model.config.tolerate_corrupt
    )
    model.line = shared.stage.line(
        preprocessor,
        arena,
        batcher.enqueue,
        weight=model.config.weight,
        by_deadline=make_policy(model.config).by_deadline,
    )
    if model.config.ladder:
        model.ladder = _ladder(model, model.line, shared)
    model.line.least_batch_ns = lambda: batcher.cost.latency_ns(1)
    model.line.believed = lambda: not batcher.untried


def _ladder(model: Model, line: ImageLine, shared: Shared) -> FidelityLadder:
    config, plan = model.config, model.plan
    assert plan is not None
    rungs = parse_ladder(config.ladder)
    fidelities: tuple[Fidelity, ...] = ("exact", "fast")
    preprocessors: dict[str, HostPreprocessor] = {
        fidelity: HostPreprocessor(plan, fidelity, tolerate_corrupt=config.tolerate_corrupt)
        for fidelity in fidelities
    }

    def other(name: str) -> Model | None:
        found = shared.find_model(name)
        return found if found is not None and found.info.outputs == model.info.outputs else None

    bound_ns = round(config.ladder_wait_ms * 1e6)
    return FidelityLadder(rungs, line, preprocessors, shared.clock, bound_ns, model.expected_wait_ns, other)


async def _start(model: Model) -> None:
    """Start the instances and wait until all run.

    Raises:
        ModelLoadError: one was lost before that.
    """
    group = model.group
    assert group is not None
    outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def changed() -> None:
        if outcome.done():
            return
        if group.last_error is not None:
            outcome.set_exception(_load_error(model, group.last_error))
        elif group.alive == group.size:
            outcome.set_result(None)

    group.on_change = changed
    group.start()
    try:
        await outcome
    except BaseException:
        await model.close()
        raise
    group.on_change = model.instances_changed


def _load_error(model: Model, error: BeyondError) -> ModelLoadError:
    return ModelLoadError(f"an instance of '{model.name}' did not start: {error.message}", error.hint)
