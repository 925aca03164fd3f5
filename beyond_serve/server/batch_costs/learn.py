"""Give a started model what is known, or can be measured, of its batches."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from beyond_serve.batching import BatchCost, Clock
from beyond_serve.engines.load import EngineConfig
from beyond_serve.engines.protocol import ENCODED, IMAGE
from beyond_serve.server.batch_costs.key import cost_key, model_file
from beyond_serve.server.batch_costs.probe_requests import request_maker
from beyond_serve.server.batch_costs.store import CostStore
from beyond_serve.server.batch_costs.table import open_costs
from beyond_serve.server.batch_policy import finds_knee

if TYPE_CHECKING:
    from beyond_serve.server.model import Model

log = logging.getLogger(__name__)


async def learn_costs(model: Model, engine: EngineConfig, clock: Clock) -> None:
    """Set the costs that `model`'s batcher starts from and, where it follows from them, its largest batch.

    Nothing is measured of engines that answer in microseconds, of emulated ones, whose table is known, and of
    models that take no images: their costs are learned from live batches.
    """
    batcher, info, config = model.batcher, model.info, model.config
    path = model_file(engine.source)
    instances = batcher.instances
    if info.batch_ns:
        batcher.cost = BatchCost(batcher.max_batch, dict(info.batch_ns))
    elif path is not None and not info.inline and (info.takes_encoded or model.line is not None):
        try:
            key = await asyncio.get_running_loop().run_in_executor(
                None,
                lambda: cost_key(
                    path,
                    info,
                    threads=engine.threads,
                    instances=instances,
                    instance_kind=config.instance_kind,
                    max_batch=batcher.max_batch,
                ),
            )
        except OSError as error:
            log.warning("batch costs of %s are not known: %s: %s", model.name, path, error.strerror)
            return
        arena = model.line.arena if model.line is not None else None
        make_request = request_maker(ENCODED if info.takes_encoded else IMAGE, arena, clock)
        model.costs = await open_costs(batcher, make_request, clock, CostStore(path), key)
    if finds_knee(config, info):
        batcher.max_batch = batcher.cost.knee(batcher.max_batch)
