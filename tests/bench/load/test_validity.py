from __future__ import annotations

from dataclasses import replace

import pytest

from beyond_serve.bench.load.validity import Facts, lateness_bound_ms, void_reasons

GOOD = Facts(
    measured=1000,
    answered=990,
    cpu=0.5,
    one_core_cpu=0.0,
    waiting=0.01,
    lateness_p99_ms=0.2,
    median_ms=4.0,
    littles_law_error=0.01,
    negative_networks=0,
)


def test_a_good_run_is_valid() -> None:
    assert void_reasons(GOOD) == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cpu": 0.91}, "used 91% of its core"),
        ({"one_core_cpu": 0.99}, "bottleneck"),
        ({"waiting": 0.11}, "waited for a core 11% of the time"),
        ({"lateness_p99_ms": 1.01}, "p99 1.01 ms after the schedule"),
        ({"littles_law_error": -0.021}, "Little's law is off by -2.1%"),
        ({"littles_law_error": 0.03}, "Little's law"),
        ({"measured": 0, "answered": 0}, "no request ended"),
        ({"answered": 0}, "no request succeeded"),
        ({"negative_networks": 3}, "3 requests took longer inside the server"),
        ({"trouble": ("a worker died: x",)}, "a worker died: x"),
    ],
)
def test_each_rule_voids_alone(change: dict[str, object], words: str) -> None:
    (reason,) = void_reasons(replace(GOOD, **change))  # type: ignore[arg-type]
    assert words in reason


def test_bounds_themselves_are_good() -> None:
    at = replace(GOOD, cpu=0.9, lateness_p99_ms=1.0, littles_law_error=0.02)
    assert void_reasons(at) == ()


def test_lateness_may_be_more_where_latency_is_long() -> None:
    assert lateness_bound_ms(200.0) == 10.0
    assert void_reasons(replace(GOOD, lateness_p99_ms=9.0, median_ms=200.0)) == ()


def test_waiting_for_a_core_does_not_matter_to_a_slow_server() -> None:
    waits = replace(GOOD, waiting=0.3)
    assert void_reasons(replace(waits, median_ms=20.0)) != ()
    assert void_reasons(replace(waits, median_ms=100.0)) == ()


def test_an_open_load_has_no_littles_law() -> None:
    assert void_reasons(replace(GOOD, littles_law_error=None)) == ()
