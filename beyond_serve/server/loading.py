"""From a model's configuration to a `Model` that serves: everything slow runs off the event loop."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from beyond_serve.batching import Admission, Batcher, Clock
from beyond_serve.demo.location import demo_model
from beyond_serve.engines.cores import available_cores
from beyond_serve.engines.describe import describe_model
from beyond_serve.engines.group import InstanceGroup
from beyond_serve.engines.instance import InlineInstance, InstanceEvents, RunningInstance, ThreadInstance
from beyond_serve.engines.load import EngineConfig, load_engine
from beyond_serve.engines.process_instance import ChildProcess, ProcessInstance
from beyond_serve.engines.protocol import Engine, EngineInfo
from beyond_serve.engines.shared_rows import SharedArena
from beyond_serve.engines.slots import SlotArena
from beyond_serve.errors import BeyondError, ModelLoadError
from beyond_serve.preprocess.host import HostPreprocessor
from beyond_serve.preprocess.labels import load_labels
from beyond_serve.preprocess.plan import Fidelity, PreprocessPlan
from beyond_serve.preprocess.presets import load_plan
from beyond_serve.server.batch_costs.learn import learn_costs
from beyond_serve.server.batch_policy import asked_max_batch, largest_batch, make_policy
from beyond_serve.server.config import ModelConfig
from beyond_serve.server.devices import Devices
from beyond_serve.server.fidelity_ladder import FidelityLadder
from beyond_serve.server.ladder_rungs import parse_ladder
from beyond_serve.server.model import Model
from beyond_serve.server.stage import ImageLine, PreprocessStage

T = TypeVar("T")


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
    """What was learned of a model from its files, before its engine is loaded."""

    engine: EngineConfig
    plan: PreprocessPlan | None
    plan_from: str
    labels: tuple[str, ...] | None


def read_source(config: ModelConfig) -> Source:
    """Read the model's description, preprocessing and labels. Blocks.

    Raises:
        ModelLoadError, ConfigError: a file is missing or makes no sense.
    """
    path = str(demo_model()) if config.source == "demo" else config.source
    plan: PreprocessPlan | None = None
    plan_from, labels = "none: the engine takes the bytes as they are", None
    description = describe_model(path)
    if description.takes_images:
        beside = None if path.startswith(("null:", "sim:")) else Path(path)
        plan, plan_from = load_plan(beside, description.image_size)
        labels = load_labels(beside) if beside is not None else None
    engine = EngineConfig(
        source=path,
        engine=config.engine,
        precision=config.precision,
        device=config.device,
        threads=max(1, available_cores() // config.instances),
        instances=config.instances if config.instance_kind == "thread" else 1,
        max_batch=asked_max_batch(config),
        image_size=plan.output_shape[:2] if plan is not None else None,
        normalization=plan.normalization if plan is not None else None,
    )
    return Source(engine, plan, plan_from, labels)


async def open_model(config: ModelConfig, shared: Shared) -> tuple[Model, str]:
    """Load `config` and return the model, ready, and where its preprocessing came from.

    Raises:
        ModelLoadError, ConfigError: it cannot be served; nothing is left behind.
    """
    in_thread = functools.partial(shared.loop.run_in_executor, None)
    source = await in_thread(read_source, config)
    if config.instance_kind == "process":
        child = await in_thread(functools.partial(ChildProcess, f"{config.name}-0"))
        try:
            info = await in_thread(child.load, source.engine)
        except BaseException:
            await in_thread(child.close)
            raise
        model = _process_model(config, source, info, child, shared)
    else:
        engine = await in_thread(load_engine, source.engine)
        model = _thread_model(config, source, engine, shared)
    await _start(model)
    try:
        await learn_costs(model, source.engine, shared.clock)
    except BaseException:
        await model.close()
        raise
    return model, source.plan_from


def _model(config: ModelConfig, source: Source, info: EngineInfo, shared: Shared) -> tuple[Model, Batcher]:
    admission = Admission(config.max_queue, config.levels, int(config.max_queue_mb * 1024 * 1024))
    batcher = Batcher(make_policy(config), admission, shared.clock, max_batch=largest_batch(config, info))
    share = shared.devices.share(info)
    if share is not None:
        batcher.share_devices({info.device: share}, config.weight)
    plan = source.plan if info.image_shape is not None else None
    if config.ladder and plan is None:
        raise ModelLoadError(
            f"'{config.name}' is not preprocessed here, so it has no ladder", "leave --ladder out for it"
        )
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
    return model, batcher


def slot_count(config: ModelConfig, info: EngineInfo, workers: int) -> int:
    """Rows for a batch running and a batch forming on each instance, and for what is being decoded."""
    return config.instances * 2 * largest_batch(config, info) + 2 * workers


def _thread_model(config: ModelConfig, source: Source, engine: Engine, shared: Shared) -> Model:
    info = engine.info
    model, batcher = _model(config, source, info, shared)
    arena: SlotArena | None = None
    if info.image_shape is not None:
        arena = SlotArena(slot_count(config, info, shared.decode_workers), info.image_shape)
        _connect(model, batcher, arena, shared)

    def make(name: str, events: InstanceEvents) -> RunningInstance:
        if info.inline:
            return InlineInstance(name, engine, events)
        return ThreadInstance(name, engine, events, shared.loop, arena)

    _group(model, batcher, make, shared, engine.close)
    return model


def _process_model(
    config: ModelConfig, source: Source, info: EngineInfo, first: ChildProcess, shared: Shared
) -> Model:
    model, batcher = _model(config, source, info, shared)
    arena: SharedArena | None = None
    if info.image_shape is not None:
        arena = SharedArena(slot_count(config, info, shared.decode_workers), info.image_shape)
        _connect(model, batcher, arena.slots, shared)
    unused = [first]

    def make(name: str, events: InstanceEvents) -> RunningInstance:
        # The child that told what the model is becomes the first instance.
        child = unused.pop() if unused else None
        return ProcessInstance(name, source.engine, info, events, shared.loop, arena, child)

    _group(model, batcher, make, shared, arena.close if arena is not None else None)
    return model


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


def _group(
    model: Model,
    batcher: Batcher,
    make: Callable[[str, InstanceEvents], RunningInstance],
    shared: Shared,
    release: Callable[[], None] | None,
) -> None:
    names = [f"{model.name}-{index}" for index in range(model.config.instances)]
    model.group = InstanceGroup(names, make, batcher, shared.clock)
    model.release = release


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
