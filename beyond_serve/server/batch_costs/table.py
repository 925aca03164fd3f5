"""The batch costs of one served model: found or measured at its start, saved at its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from beyond_serve.batching import BatchCost, Batcher, Clock, Request
from beyond_serve.batching.cost import grid
from beyond_serve.server.batch_costs.key import CostKey
from beyond_serve.server.batch_costs.measure import measured_costs
from beyond_serve.server.batch_costs.store import CostStore, Entries

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CostTable:
    """What was known of a model's batches when it started; `entries` may be empty."""

    store: CostStore
    key: CostKey
    entries: Entries

    def save(self, live: BatchCost) -> None:
        """Store the measured sizes as live batches have moved them. Blocks; raises nothing.

        Sizes that were never measured stay out: what `live` says of them is the slope's continuation.
        """
        now = live.entries()
        moved = {size: ns for size in self.entries if (ns := now.get(size, 0.0)) >= 1}
        if moved:
            self.store.save(self.key, {**self.entries, **moved})


async def open_costs(
    batcher: Batcher,
    make_request: Callable[[], Request],
    clock: Clock,
    store: CostStore,
    key: CostKey,
    budget_s: float = 2.0,
) -> CostTable:
    """The table stored for `key`, or else one measured now and stored; `batcher.cost` starts from it.

    Args: as `measured_costs`, before anything is served. Raises nothing of an engine's or a disk's.
    """
    loop = asyncio.get_running_loop()
    entries = await loop.run_in_executor(None, store.load, key)
    if entries is None:
        began_ns = clock.now_ns()
        entries = await measured_costs(batcher, make_request, grid(batcher.max_batch), clock, budget_s)
        if entries:
            file = await loop.run_in_executor(None, store.save, key, entries)
            seconds = (clock.now_ns() - began_ns) / 1e9
            log.info(
                "batch costs of %s measured in %.2f s (%s): %s", key.model, seconds, file, _shown(entries)
            )
    batcher.cost = BatchCost(batcher.max_batch, entries)
    return CostTable(store, key, entries)


def _shown(entries: Entries) -> str:
    return ", ".join(f"{size}: {ns / 1e6:.3g} ms" for size, ns in sorted(entries.items()))
