"""What runs one model's batches: an engine for each of its devices, in this process or in children."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from beyond_serve.engines.config import EngineConfig
from beyond_serve.engines.instance import InlineInstance, InstanceEvents, RunningInstance, ThreadInstance
from beyond_serve.engines.load import load_engine
from beyond_serve.engines.process_instance import ChildProcess, ProcessInstance
from beyond_serve.engines.protocol import Engine, EngineInfo, LosableEngine
from beyond_serve.engines.shared_rows import SharedArena
from beyond_serve.engines.slots import SlotArena

log = logging.getLogger(__name__)


class Backend(Protocol):
    """
    Attributes:
        infos: what each device's engine says of itself, in the devices' order.
    """

    @property
    def infos(self) -> Sequence[EngineInfo]: ...

    def make_rows(self, count: int, shape: tuple[int, int, int]) -> SlotArena:
        """The one arena from which all instances read image rows. Blocks, and longer where memory is
        pinned; called at most once, before the first instance."""
        ...

    def instance(self, device: int, name: str, events: InstanceEvents) -> RunningInstance:
        """A new instance on the device of that position, not yet started."""
        ...

    def close(self) -> None:
        """Free everything, after the instances have ended. Blocks."""
        ...


class EnginesHere:
    """An engine for each device in this process; its instances are threads and share its weights.

    Should a device be lost to this process, its next instances are child processes.
    """

    def __init__(self, engines: Sequence[Engine], configs: Sequence[EngineConfig]) -> None:
        self.infos = [engine.info for engine in engines]
        self._engines = engines
        self._configs = configs
        self._loop = asyncio.get_running_loop()
        self._arena: SlotArena | None = None
        # Only where children may come to need the rows.
        self._shared: SharedArena | None = None

    def make_rows(self, count: int, shape: tuple[int, int, int]) -> SlotArena:
        if any(isinstance(engine, LosableEngine) for engine in self._engines):
            self._shared = SharedArena(count, shape)
        self._arena = SlotArena(count, shape) if self._shared is None else self._shared.slots
        for engine in self._engines:
            engine.adopt_rows(self._arena.array)
        return self._arena

    def instance(self, device: int, name: str, events: InstanceEvents) -> RunningInstance:
        engine = self._engines[device]
        if engine.info.inline:
            return InlineInstance(name, engine, events)
        if isinstance(engine, LosableEngine) and engine.lost:
            log.warning("%s is lost to this process: instance %s gets its own", engine.info.device, name)
            config = replace(self._configs[device], instances=1)
            return ProcessInstance(name, config, engine.info, events, self._loop, self._shared)
        return ThreadInstance(name, engine, events, self._loop, self._arena)

    def close(self) -> None:
        for engine in self._engines:
            engine.close()
        if self._shared is not None:
            self._shared.close()


async def load_here(configs: Sequence[EngineConfig]) -> EnginesHere:
    """Load the engines of all devices at the same time.

    Raises:
        ModelLoadError: one cannot be loaded; the others are closed.
    """
    loading = (asyncio.to_thread(load_engine, config) for config in configs)
    loaded = await asyncio.gather(*loading, return_exceptions=True)
    engines = [engine for engine in loaded if not isinstance(engine, BaseException)]
    if len(engines) < len(loaded):
        for engine in engines:
            await asyncio.to_thread(engine.close)
        raise next(error for error in loaded if isinstance(error, BaseException))
    return EnginesHere(engines, configs)


class EnginesInChildren:
    """An engine in a child process for each instance, which a crash takes alone with it.

    State: the children that told what the model is; each becomes the first instance of its device.
    """

    def __init__(
        self, configs: Sequence[EngineConfig], children: Sequence[ChildProcess], infos: Sequence[EngineInfo]
    ) -> None:
        self.infos = infos
        self._configs = configs
        self._unused = dict(enumerate(children))
        self._loop = asyncio.get_running_loop()
        self._arena: SharedArena | None = None

    def make_rows(self, count: int, shape: tuple[int, int, int]) -> SlotArena:
        self._arena = SharedArena(count, shape)
        return self._arena.slots

    def instance(self, device: int, name: str, events: InstanceEvents) -> RunningInstance:
        child = self._unused.pop(device, None)
        return ProcessInstance(
            name, self._configs[device], self.infos[device], events, self._loop, self._arena, child
        )

    def close(self) -> None:
        for child in self._unused.values():
            child.close()
        self._unused.clear()
        if self._arena is not None:
            self._arena.close()


async def load_in_children(
    name: str, first: ChildProcess, configs: Sequence[EngineConfig]
) -> EnginesInChildren:
    """Start a child for each device, of which `first` is the first device's, and load all at the same time.

    Raises:
        ModelLoadError: one cannot be loaded; all are ended, `first` too.
    """
    children = [first]
    try:
        while len(children) < len(configs):
            children.append(await asyncio.to_thread(ChildProcess, f"{name}-{len(children)}"))
        loading = [
            asyncio.to_thread(child.load, config) for child, config in zip(children, configs, strict=True)
        ]
        infos = await asyncio.gather(*loading)
    except BaseException:
        await asyncio.gather(*(asyncio.to_thread(child.close) for child in children))
        raise
    return EnginesInChildren(configs, children, infos)
