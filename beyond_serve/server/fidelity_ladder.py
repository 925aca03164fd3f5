"""A model's ladder of cheaper plans: fidelities of its own preprocessing, then other models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol, cast

from beyond_serve.batching import Clock, Request
from beyond_serve.batching.ladder import Ladder
from beyond_serve.preprocess.host import HostPreprocessor
from beyond_serve.preprocess.plan import Fidelity
from beyond_serve.server.ladder_rungs import Rung
from beyond_serve.server.stage import ImageLine


class Other(Protocol):
    """Another model, as a rung: see `Model`."""

    @property
    def ready(self) -> bool: ...

    @property
    def line(self) -> ImageLine | None: ...


class FidelityLadder:
    """Chooses the line, and its preprocessing, of every new image.

    A step between fidelities holds for images that wait already, too. A step to another model is for new
    images: they keep their place in this model's queue and run in the other's batches. A model that is not
    loaded is passed over.

    State: the rung and how many images each has served. Owned by the event loop.
    """

    def __init__(
        self,
        rungs: tuple[Rung, ...],
        line: ImageLine,
        preprocessors: Mapping[str, HostPreprocessor],
        clock: Clock,
        bound_ns: int,
        wait_ns: Callable[[], int],
        other: Callable[[str], Other | None],
    ) -> None:
        """
        Args:
            preprocessors: by fidelity.
            wait_ns: how long a new image is expected to wait.
            other: the served model of that name that answers as this one does, or None.
        """
        self.rungs = rungs
        self.served: Counter[str] = Counter()
        self._line = line
        self._preprocessors = preprocessors
        self._clock = clock
        self._wait_ns = wait_ns
        self._other = other
        self._ladder = Ladder(len(rungs), bound_ns)
        self._use(rungs[0])

    @property
    def rung(self) -> int:
        """Of the next image; 0 is the best."""
        return self._ladder.rung

    def line_for(self, request: Request) -> ImageLine:
        """The line that takes `request`, whose trace tells the rung."""
        before = self._ladder.rung
        rung = self.rungs[self._ladder.update(self._wait_ns(), self._clock.now_ns())]
        if rung.model:
            other = self._other(rung.model)
            if other is not None and other.ready and other.line is not None:
                request.trace.rung = rung.name
                self.served[rung.name] += 1
                return other.line
        elif self._ladder.rung != before:
            self._use(rung)
        self.served[self._line.rung] += 1
        return self._line

    def _use(self, rung: Rung) -> None:
        self._line.rung = rung.name
        self._line.preprocessor = self._preprocessors[cast("Fidelity", rung.name)]
