from __future__ import annotations

import pytest

from beyond_serve.client.errors import CallFailed
from beyond_serve.client.retry import NO_RETRY, RetryPolicy
from beyond_serve.errors import BeyondError, EngineError, InstanceLostError, QueueFullError, ShuttingDownError

FULL = QueueFullError("full")


@pytest.mark.parametrize("error", [FULL, ShuttingDownError("stops"), InstanceLostError("lost")])
def test_waits_as_long_as_the_server_asks(error: BeyondError) -> None:
    assert RetryPolicy().delay_s(CallFailed(error, 4), 1, jitter=0) == 4


def test_doubles_its_own_wait_if_the_server_does_not_say() -> None:
    policy = RetryPolicy(attempts=4, base_delay_s=0.5)

    assert [policy.delay_s(CallFailed(FULL), attempt, 0) for attempt in (1, 2, 3, 4)] == [0.5, 1, 2, None]


def test_jitter_only_lengthens() -> None:
    assert RetryPolicy().delay_s(CallFailed(FULL, 2), 1, jitter=1) == 3


@pytest.mark.parametrize(
    ("policy", "failed"),
    [
        (RetryPolicy(), CallFailed(EngineError("failed"), 1)),
        (RetryPolicy(max_delay_s=5), CallFailed(FULL, 6)),
        (NO_RETRY, CallFailed(FULL, 1)),
    ],
)
def test_gives_up(policy: RetryPolicy, failed: CallFailed) -> None:
    assert policy.delay_s(failed, 1, jitter=0) is None


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="attempts"):
        RetryPolicy(attempts=0)
