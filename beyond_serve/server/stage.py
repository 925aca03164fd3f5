"""Decode on credit: encoded images wait here until a worker, a slot and memory are free."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from beyond_serve.batching import Clock, Lane, Request
from beyond_serve.batching.request import DECODING, WAITING
from beyond_serve.engines.slots import ArenaSlot, SlotArena
from beyond_serve.errors import BeyondError, ImageDecodeError
from beyond_serve.preprocess.decode_cost import DecodeCost, working_bytes
from beyond_serve.preprocess.host import HostPreprocessor
from beyond_serve.preprocess.image_pool import ImagePool, Job, Stamps

# What an image is taken to cost while nothing is known: only the order of models depends on it.
_UNKNOWN_NS = 1_000_000


class ImageLine:
    """One model's encoded images in the order of its policy, and what turns them into rows.

    Attributes:
        weight: its share of the workers beside other models that have work.
        virtual_ns: what its images have cost, over its weight.
        held: images that the pool has.
        least_batch_ns: what a batch takes at least.
        believed: whether predictions may end a request; not where nothing has run for so long that they
            might be wrong and nobody would learn it.
        rung: name of the ladder's plan that `preprocessor` is; empty without a ladder.
    """

    def __init__(
        self,
        stage: PreprocessStage,
        preprocessor: HostPreprocessor,
        arena: SlotArena,
        on_ready: Callable[[Request], None],
        *,
        weight: float = 1.0,
        by_deadline: bool = False,
    ) -> None:
        self.preprocessor = preprocessor
        self.arena = arena
        self.on_ready = on_ready
        self.weight = weight
        self.virtual_ns = 0.0
        self.held = 0
        self.rung = ""
        self.cost = DecodeCost()
        self.least_batch_ns: Callable[[], int] = lambda: 0
        self.believed: Callable[[], bool] = lambda: True
        self._waiting = Lane(by_deadline=by_deadline)
        self._stage = stage
        arena.on_free = stage.pump_soon

    @property
    def active(self) -> bool:
        return self.held > 0 or self._waiting.living > 0

    def enqueue(self, request: Request) -> None:
        """Take an admitted request whose `header` is set."""
        request.state = WAITING
        if not self.active:
            self._stage.rested(self)
        self._waiting.append(request.trace.admitted, request)
        self._stage.pump()

    def wait_ns(self, ahead: int) -> int:
        """How long a new image is expected to wait for a worker behind `ahead` others of its model."""
        images = min(ahead, self.held + self._waiting.living)
        return int(images * self.cost.mean_ns / self._stage.workers_of(self))

    def predict_ns(self, request: Request) -> int:
        return self.cost.predict_ns(request.header, len(request.payload))

    def next(self, now_ns: int) -> Request | None:
        """The request that should be decoded next, left in its place; None without one or a free slot.

        Those whose deadlines cannot be met any more are given up on the way.
        """
        while self._waiting.living and self.arena.free_count:
            request = self._waiting.first()
            if request.deadline_ns is None:
                return request
            ends_ns = now_ns + self.predict_ns(request) + self.least_batch_ns()
            if ends_ns <= request.deadline_ns or not self.believed():
                return request
            request.give_up()
        return None

    def take(self) -> tuple[Request, ArenaSlot]:
        """The request that `next` told of, and the row it will fill."""
        slot = self.arena.acquire()
        assert slot is not None
        return self._waiting.take(1)[0], slot

    def fail_waiting(self, error: BeyondError) -> None:
        for request in self._waiting.drain():
            request.fail(error)

    def close(self) -> None:
        self._stage.lines.remove(self)


class PreprocessStage:
    """Feeds one pool of workers from the lines of all models, by weight.

    State: the lines, and how many jobs and bytes the pool holds. Owned by the event loop. The pool
    holds a few jobs for each worker and no more, so that most images whose client left are dropped
    before they cost anything, and no model's backlog stands before another's.

    Guarantee: what is being decoded takes no more than `memory_bytes`, by `working_bytes`' count, or is a
    single image that takes more by itself.
    """

    def __init__(self, pool: ImagePool, workers: int, clock: Clock, memory_bytes: int = 1 << 62) -> None:
        self.lines: list[ImageLine] = []
        self.held_bytes = 0
        self._pool = pool
        self._workers = workers
        # Enough for the pool to let small images pass large ones; an invented number.
        self._limit = 8 * workers
        self._memory_bytes = memory_bytes
        self._held = 0
        self._virtual_ns = 0.0
        self._clock = clock
        self._pump_called = False

    def line(
        self,
        preprocessor: HostPreprocessor,
        arena: SlotArena,
        on_ready: Callable[[Request], None],
        *,
        weight: float = 1.0,
        by_deadline: bool = False,
    ) -> ImageLine:
        line = ImageLine(self, preprocessor, arena, on_ready, weight=weight, by_deadline=by_deadline)
        self.lines.append(line)
        return line

    def rested(self, line: ImageLine) -> None:
        """`line` had no work: it starts level with the others, and does not catch up on what it left."""
        line.virtual_ns = max(line.virtual_ns, self._virtual_ns)

    def workers_of(self, line: ImageLine) -> float:
        """How many workers a line may count on beside the others that have work."""
        others = sum(other.weight for other in self.lines if other is not line and other.active)
        return self._workers * line.weight / (line.weight + others)

    def pump_soon(self) -> None:
        """Slots came back, many at a time: look once, after all of them."""
        if not self._pump_called:
            self._pump_called = True
            self._clock.call_soon(self.pump)

    def pump(self) -> None:
        """Give the pool work while it has room, the line that has had least for its weight first."""
        self._pump_called = False
        while self._held < self._limit and (line := self._next_line()) is not None:
            self._start_one(line)

    def _next_line(self) -> ImageLine | None:
        now_ns = self._clock.now_ns()
        best: ImageLine | None = None
        for line in self.lines:
            if best is None or line.virtual_ns < best.virtual_ns:
                request = line.next(now_ns)
                if request is not None and self._fits(working_bytes(request.header)):
                    best = line
        return best

    def _fits(self, size: int) -> bool:
        return self.held_bytes == 0 or self.held_bytes + size <= self._memory_bytes

    def _start_one(self, line: ImageLine) -> None:
        request, slot = line.take()
        size, header = len(request.payload), request.header
        request.state = DECODING
        request.trace.rung = request.trace.rung or line.rung
        self._virtual_ns = line.virtual_ns
        line.virtual_ns += (line.predict_ns(request) or _UNKNOWN_NS) / line.weight
        self._held += 1
        line.held += 1
        self.held_bytes += working_bytes(header)
        done = partial(self._finished, line, request, slot, size)
        try:
            self._pool.submit(Job(line.preprocessor, request.payload, header, slot.array, done))
        except Exception as error:  # one image's numbers must not keep a slot and a client for ever
            done(None, error)

    def _finished(
        self,
        line: ImageLine,
        request: Request,
        slot: ArenaSlot,
        size: int,
        stamps: Stamps | None,
        error: BaseException | None,
    ) -> None:
        self._held -= 1
        line.held -= 1
        self.held_bytes -= working_bytes(request.header)
        if stamps is not None:
            line.cost.observe(request.header, size, stamps.done_ns - stamps.started_ns)
        if stamps is None or request.done:
            slot.free()
            if error is not None:
                request.fail(_typed(error))
        else:
            trace = request.trace
            trace.decode_started, trace.decoded, trace.transformed = stamps[:3]
            request.slot = slot
            # The encoded bytes have served; a queue of decoded images must not hold both.
            request.drop_payload()
            line.on_ready(request)
        self.pump_soon()


def _typed(error: BaseException) -> BeyondError:
    if isinstance(error, BeyondError):
        return error
    return ImageDecodeError(f"the image could not be preprocessed: {type(error).__name__}: {error}")
