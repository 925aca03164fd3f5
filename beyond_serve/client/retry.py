"""Whether a refused call is tried again, and when."""

from __future__ import annotations

from dataclasses import dataclass

from beyond_serve.client.errors import CallFailed
from beyond_serve.errors import InstanceLostError, QueueFullError, ShuttingDownError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Retry calls that the server refused for now (HTTP 429 and 503, and their gRPC counterparts).

    Every call of this client may safely be repeated. `timeout_s` of the client holds for each attempt.

    Attributes:
        attempts: at most this many in all, the first one included.
        base_delay_s: wait before the second attempt if the server does not say how long; doubles after each.
        max_delay_s: a longer wait, whoever asks for it, ends the call with the error instead.
    """

    attempts: int = 3
    base_delay_s: float = 0.1
    max_delay_s: float = 10.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.base_delay_s < 0 or self.max_delay_s < 0:
            raise ValueError(f"attempts must be at least 1 and delays at least 0: {self}")

    def delay_s(self, failed: CallFailed, attempt: int, jitter: float) -> float | None:
        """Seconds to wait after `attempt` (from 1) failed, or None to give up.

        `jitter`, from 0 to 1, spreads callers that were refused together: it adds up to half the wait.
        """
        if attempt >= self.attempts or not isinstance(failed.error, _RETRIED):
            return None
        asked = failed.retry_after_s
        delay = self.base_delay_s * 2 ** (attempt - 1) if asked is None else float(asked)
        if delay > self.max_delay_s:
            return None
        return delay * (1 + jitter / 2)


_RETRIED = (QueueFullError, ShuttingDownError, InstanceLostError)
NO_RETRY = RetryPolicy(attempts=1)
