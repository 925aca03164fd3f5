"""Where one request's time went: contiguous spans on one monotonic clock.

Source: Beyond Inference 4.1 ("from the point an image enters the host CPU until the result is
returned to the host CPU"). The spans share their borders, so they cannot overlap or leave a gap.
"""

from __future__ import annotations

from itertools import accumulate, pairwise

STAGES = (
    "receive",
    "admit",
    "decode_wait",
    "decode",
    "transform",
    "batch_wait",
    "copy_in",
    "infer",
    "copy_out",
    "postprocess",
    "reply",
)


class BatchTiming:
    """What the traces of a batch share: borders in `time.monotonic_ns`, written by the instance, and
    what kind of batch it was, written by the batcher."""

    __slots__ = (
        "copied_in",
        "copied_out",
        "inferred",
        "instance",
        "postprocessed",
        "release",
        "simulated",
        "size",
        "started",
    )

    def __init__(self, size: int = 0, release: str = "") -> None:
        self.size = size
        self.release = release
        self.instance = ""
        self.simulated = False
        self.started = 0
        self.copied_in = 0
        self.inferred = 0
        self.copied_out = 0
        self.postprocessed = 0


class Trace:
    """The borders of one request's stages, each a `time.monotonic_ns` value, 0 while not reached.

    Each border is written once, by the one that owns the request at that time: the transport, the
    preprocess worker, the instance (through `timing`), and the transport again. Never two at once,
    so no lock is needed.
    """

    __slots__ = (
        "admitted",
        "decode_started",
        "decoded",
        "received",
        "replied",
        "rung",
        "started",
        "timing",
        "transformed",
    )

    def __init__(self, started: int, received: int) -> None:
        self.started = started
        self.received = received
        self.admitted = 0
        self.decode_started = 0
        self.decoded = 0
        self.transformed = 0
        self.timing: BatchTiming | None = None
        self.replied = 0
        # Which plan of a ladder served it; empty without a ladder.
        self.rung = ""

    def borders(self, end: int | None = None) -> tuple[int, ...]:
        """The 12 borders of the 11 stages; one that was not reached equals the one before it.

        `end` closes `reply` where the reply is not sent yet (a trace inside a reply).
        """
        timing = self.timing or _NO_BATCH
        marks = (
            self.started,
            self.received,
            self.admitted,
            self.decode_started,
            self.decoded,
            self.transformed,
            timing.started,
            timing.copied_in,
            timing.inferred,
            timing.copied_out,
            timing.postprocessed,
            self.replied or end or 0,
        )
        return tuple(accumulate(marks, max))

    def stages_ns(self, end: int | None = None) -> tuple[int, ...]:
        """Nanoseconds spent in each of `STAGES`, in order; a skipped stage is 0."""
        borders = self.borders(end)
        return tuple(after - before for before, after in pairwise(borders))

    def total_ns(self, end: int | None = None) -> int:
        """First byte to the reply's end, measured apart from the stages."""
        return (self.replied or end or self.borders()[-1]) - self.started

    def as_dict(self, end: int | None = None) -> dict[str, object]:
        """The trace as replies carry it, in microseconds."""
        stages = self.stages_ns(end)
        total = self.total_ns(end)
        batch = self.timing or _NO_BATCH
        trace: dict[str, object] = {
            "total_us": total / 1000,
            "stages_us": {name: ns / 1000 for name, ns in zip(STAGES, stages, strict=True)},
            "residual_us": (total - sum(stages)) / 1000,
            "batch": {"size": batch.size, "release": batch.release},
            "instance": batch.instance,
            "simulated": batch.simulated,
        }
        if self.rung:
            trace["rung"] = self.rung
        return trace


_NO_BATCH = BatchTiming()
