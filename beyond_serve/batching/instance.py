"""What a batcher needs of those that run its batches, and of those that watch them."""

from __future__ import annotations

from typing import Protocol

from beyond_serve.batching.batch import Batch


class Instance(Protocol):
    """Runs one batch at a time and reports to `Batcher.batch_done` on the loop: later, or for work of
    microseconds from inside `submit`."""

    @property
    def name(self) -> str: ...

    @property
    def device(self) -> str:
        """Instances of one device have the same; only compared."""
        ...

    @property
    def simulated(self) -> bool: ...

    def submit(self, batch: Batch) -> None:
        """Take ownership of `batch`. Never blocks, never raises."""
        ...


class BatchObserver(Protocol):
    """Hears of batches for metrics; called on the loop."""

    def batch_finished(self, batch: Batch) -> None: ...
