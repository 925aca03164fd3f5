"""Whether a new request's deadline can be met, before anything is spent on it. Pure."""

from __future__ import annotations

from typing import NamedTuple

from beyond_serve.errors import DeadlineExceededError


class Forecast(NamedTuple):
    """What lies before a new request. Nanoseconds.

    decode_wait_ns: until a worker takes it.
    decode_ns: its own decoding, predicted from its header.
    queue_ns: until a request that is ready now, behind those ahead of this one, is through its batch.
    single_ns: a batch of one.
    """

    decode_wait_ns: int = 0
    decode_ns: int = 0
    queue_ns: int = 0
    single_ns: int = 0

    def finish_ns(self, now_ns: int) -> int:
        """When its result is expected. Batches of those ahead run while it is decoded, so the slower of
        the two lines decides."""
        return now_ns + max(self.decode_wait_ns + self.decode_ns + self.single_ns, self.queue_ns)


def too_late(forecast: Forecast, now_ns: int, deadline_ns: int) -> DeadlineExceededError | None:
    """The refusal of a request that is expected to end after its deadline; None for one that is not."""
    late_ns = forecast.finish_ns(now_ns) - deadline_ns
    if late_ns <= 0:
        return None
    return DeadlineExceededError(
        f"the deadline cannot be met: {(deadline_ns - now_ns) / 1e6:.1f} ms are left, "
        f"and the result is expected {late_ns / 1e6:.1f} ms after it",
        "allow more time, or lower the load",
    )
