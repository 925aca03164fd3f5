from __future__ import annotations

import pytest

from beyond_serve.engines.warm_up import BUDGET_NS, warm_sizes, warm_up


@pytest.mark.parametrize(
    ("max_batch", "fixed", "sizes"),
    [
        (1, None, [1]),
        (2, None, [1, 2]),
        (32, None, [1, 2, 4, 8, 16, 32]),
        (6, None, [1, 2, 4, 6]),
        (32, 4, [4]),
    ],
)
def test_sizes(max_batch: int, fixed: int | None, sizes: list[int]) -> None:
    assert list(warm_sizes(max_batch, fixed)) == sizes


def test_it_stops_when_the_time_is_spent() -> None:
    now, ran = [0], []

    def run(size: int) -> None:
        ran.append(size)
        now[0] += BUDGET_NS // 3 + 1

    warm_up(run, 32, None, clock=lambda: now[0])
    assert ran == [1, 2, 4]
