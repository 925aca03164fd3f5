"""What is read off a model when somebody asks for its metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from beyond_serve.batching import Admission

if TYPE_CHECKING:
    from beyond_serve.server.model import Model


class Gauges:
    """The present state of one model and its queue; nothing is kept here."""

    def __init__(self, model: Model, admission: Admission) -> None:
        self._model = model
        self._admission = admission

    @property
    def waiting(self) -> int:
        return self._admission.waiting

    @property
    def capacity(self) -> int:
        return self._admission.capacity

    @property
    def queued_bytes(self) -> int:
        return self._admission.held_bytes

    @property
    def instances_alive(self) -> int:
        return self._model.instances_alive

    @property
    def slots_free(self) -> int:
        line = self._model.line
        return line.arena.free_count if line is not None else 0

    @property
    def rung(self) -> int:
        ladder = self._model.ladder
        return ladder.rung if ladder is not None else 0

    @property
    def served_by_rung(self) -> Mapping[str, int]:
        ladder = self._model.ladder
        return ladder.served if ladder is not None else {}
