"""When a run says more about its generator than about the server: it is void, with the reasons."""

from __future__ import annotations

from dataclasses import dataclass

HIGHEST_CPU, HIGHEST_WAITING = 0.9, 0.1
LATENESS_MS, LATENESS_SHARE = 1.0, 0.05
LITTLES_LAW = 0.02
SLICE_MS = 4.0
"""How long another process keeps a core, about: a usual slice of Linux's scheduler."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is judged.

    Attributes:
        cpu: of the busiest worker's sending thread, share of one core, in the measured time.
        one_core_cpu: of the busiest worker's whole process, if it may use one core only; else 0.
        waiting: how long a worker's sending thread was ready and had no core, share of the measured time.
        lateness_p99_ms, median_ms: None where nothing was measured. In a closed loop lateness is the time
            from an answer to the next request.
        littles_law_error: None in an open load, and where it cannot be said.
        trouble: what else went wrong, in words.
    """

    measured: int
    answered: int
    cpu: float
    one_core_cpu: float
    waiting: float
    lateness_p99_ms: float | None
    median_ms: float | None
    littles_law_error: float | None
    negative_networks: int
    trouble: tuple[str, ...] = ()


def void_reasons(facts: Facts) -> tuple[str, ...]:
    """Empty for a valid run."""
    reasons = list(facts.trouble)
    if facts.measured == 0:
        reasons.append("no request ended in the measured time")
    elif facts.answered == 0:
        reasons.append("no request succeeded")
    cpu = max(facts.cpu, facts.one_core_cpu)
    if cpu > HIGHEST_CPU:
        reasons.append(
            f"the generator was the bottleneck: a worker used {cpu:.0%} of its core "
            f"(bound {HIGHEST_CPU:.0%}); give it more workers or less load"
        )
    if is_starved(facts.waiting, facts.median_ms):
        reasons.append(
            f"the generator was starved: a worker waited for a core {facts.waiting:.0%} of the time "
            f"(bound {HIGHEST_WAITING:.0%}); leave it a core of its own"
        )
    if facts.lateness_p99_ms is not None:
        bound = lateness_bound_ms(facts.median_ms)
        if facts.lateness_p99_ms > bound:
            reasons.append(
                f"the generator was late: p99 {facts.lateness_p99_ms:.2f} ms after the schedule "
                f"(bound {bound:.2f} ms); give it cores of its own, more workers or less load"
            )
    error = facts.littles_law_error
    if error is not None and abs(error) > LITTLES_LAW:
        reasons.append(
            f"Little's law is off by {error:+.1%} (bound {LITTLES_LAW:.0%}): "
            "mean latency times throughput is not the concurrency, the run was too short to become steady, "
            "or requests were lost"
        )
    if facts.negative_networks:
        reasons.append(
            f"{facts.negative_networks} requests took longer inside the server than from send to receive: "
            "its trace cannot be right"
        )
    return tuple(reasons)


def is_starved(waiting: float, median_ms: float | None) -> bool:
    """Whether the wait for a core shows in the figures.

    An answer that comes while the generator waits is seen late by part of the scheduler's slice; on average
    by `waiting` times that. Latencies so long that this is under 5 % of them are right all the same, as
    with a model that takes every core for 100 ms.
    """
    return waiting > HIGHEST_WAITING and waiting * SLICE_MS > LATENESS_SHARE * (median_ms or 0.0)


def lateness_bound_ms(median_ms: float | None) -> float:
    """1 ms, or 5 % of the median latency where that is more: lateness is part of every latency shown."""
    return max(LATENESS_MS, LATENESS_SHARE * (median_ms or 0.0))
