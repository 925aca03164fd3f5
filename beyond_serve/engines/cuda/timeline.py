"""CUDA events on the host's clock. Pure.

Events tell how long apart they were on the device, to 0.5 us, and nothing about the host. What the host
knows: the first cannot have happened before it was recorded, nor the last after the wait for it ended.
"""

from __future__ import annotations

from typing import NamedTuple


class Borders(NamedTuple):
    """Nanoseconds of `time.monotonic_ns`; for `BatchTiming`."""

    copied_in: int
    inferred: int
    copied_out: int


def borders(recorded_ns: int, seen_ns: int, copy_in_ns: int, infer_ns: int, copy_out_ns: int) -> Borders:
    """
    Args:
        recorded_ns: just before the first event was recorded, on a stream at rest: it happens then.
        seen_ns: after the wait for the last event. What is left between them, the device's waking of the
            host, counts as copying out: until then the results are not at hand.
        copy_in_ns, infer_ns, copy_out_ns: between the four events.
    """
    # Clocks that disagree by more than the waking took must not put the end before its beginning.
    start = min(recorded_ns, seen_ns - copy_in_ns - infer_ns - copy_out_ns)
    copied_in = max(recorded_ns, start + copy_in_ns)
    inferred = max(copied_in, start + copy_in_ns + infer_ns)
    return Borders(min(copied_in, seen_ns), min(inferred, seen_ns), seen_ns)
