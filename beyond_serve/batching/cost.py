"""l(n): how long an instance takes for a batch of n, as policies and admission use it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from itertools import accumulate, pairwise

_RATE = 1 / 8
"""Weight of one live batch: an invented number; about the last eight batches near that size."""

_KNEE = 0.95
"""The knee is the smallest batch within 5 % of the peak rate (the issue's and Nexus's rule of thumb)."""


_LEAST_NS = 1_000
"""What counts as the expectation where it is less, so that an entry of nothing can grow again."""


class BatchCost:
    """A table of batch sizes and nanoseconds, linear between them, never falling with the size.

    It starts from measured entries, or from nothing, and follows live batches: each moves the two
    entries around its size towards what it took, so that one slow batch is no more than a hint.

    State: the entries, in whole nanoseconds, so that what is exact on paper is exact here, and the mean
    lateness. Owned by the event loop.

    Attributes:
        largest: the largest batch size it knows; larger ones are taken for this one.
        margin_ns: what a batch may take longer than `latency_ns` without surprise: four times the
            mean lateness of live batches, which is twice the mean deviation of even noise.
    """

    def __init__(self, largest: int, measured: Mapping[int, float] | None = None) -> None:
        """
        Args:
            largest: at least 1.
            measured: nanoseconds by batch size; sizes above `largest` shape the slope and no more.
        """
        self.largest = largest
        self.margin_ns = 0
        self._lateness = 0.0
        self._sizes = grid(largest)
        self._ns = _on_grid(self._sizes, measured or {})
        self._left, self._share = _positions(self._sizes)

    @property
    def known(self) -> bool:
        """Whether anything was measured or observed; every latency is 0 before that."""
        return self._ns[-1] > 0

    def latency_ns(self, size: int) -> int:
        """Of a batch of `size`, at least 1."""
        size = min(size, self.largest)
        left, share = self._left[size], self._share[size]
        return self._ns[left] + int((self._ns[left + 1] - self._ns[left]) * share)

    def largest_within(self, budget_ns: int, limit: int) -> int:
        """The largest batch of at most `limit` that takes at most `budget_ns`; 0 if none does."""
        right = bisect_right(self._ns, budget_ns)
        if right == 0:
            return 0
        if right == len(self._ns):
            return limit
        below, above = self._ns[right - 1], self._ns[right]
        size, next_size = self._sizes[right - 1], self._sizes[right]
        # One nanosecond more, exclusive: latencies are told in whole ones.
        size += int((budget_ns + 1 - below) / (above - below) * (next_size - size))
        # The quotient is rounded; the answer is not.
        if self.latency_ns(size) > budget_ns:
            size -= 1
        elif size < next_size and self.latency_ns(size + 1) <= budget_ns:
            size += 1
        return limit if size >= self.largest else min(size, limit)

    def peak_rate(self, limit: int) -> float:
        """Requests per nanosecond of the best batch of at most `limit`; 0 while nothing is known."""
        if not self.known:
            return 0.0
        # Between two entries the rate only rises or only falls.
        sizes = [size for size in self._sizes if size < limit]
        return max(size / max(self.latency_ns(size), 1) for size in (*sizes, limit))

    def knee(self, limit: int) -> int:
        """The smallest batch of at most `limit` whose rate is within 5 % of the best; `limit` if unknown."""
        if not self.known:
            return limit
        rates = [size / max(self.latency_ns(size), 1) for size in range(1, limit + 1)]
        enough = _KNEE * max(rates)
        return next(size for size, rate in enumerate(rates, 1) if rate >= enough)

    def observe(self, size: int, took_ns: int) -> None:
        """A batch of `size` took `took_ns` on an instance."""
        ns = self._ns
        if ns[-1] == 0:
            self._ns = _on_grid(self._sizes, {size: took_ns})
            return
        # Called for every batch: conditions instead of min and max, and no calls.
        size = size if size < self.largest else self.largest
        left, share = self._left[size], self._share[size]
        low, high = ns[left], ns[left + 1]
        expected = low + int((high - low) * share)
        # A stall of the machine says little of the model: no batch counts for more than twice its due.
        due = expected if expected > _LEAST_NS else _LEAST_NS
        error = took_ns - expected
        error = error if error < due else due
        self._lateness += _RATE * ((error if error > 0 else 0) - self._lateness)
        self.margin_ns = int(4 * self._lateness)
        if share == 0.0:
            ns[left] = low + int(_RATE * error)
        else:
            step = _RATE * error / (share * share + (1 - share) * (1 - share))
            ns[left] = max(0, low + int(step * (1 - share)))
            ns[left + 1] = max(0, high + int(step * share))
        self._keep_rising(left)

    def entries(self) -> dict[int, float]:
        """Nanoseconds by batch size, as the constructor takes them."""
        return {size: ns for size, ns in zip(self._sizes, self._ns, strict=True) if size <= self.largest}

    def _keep_rising(self, left: int) -> None:
        """Entries around `left` have moved: neighbours give way, never the moved ones."""
        ns = self._ns
        if ns[left + 1] < ns[left]:
            ns[left] = ns[left + 1] = (ns[left] + ns[left + 1]) // 2
        for index in range(left + 2, len(ns)):
            if ns[index] >= ns[index - 1]:
                break
            ns[index] = ns[index - 1]
        for index in range(left - 1, -1, -1):
            if ns[index] <= ns[index + 1]:
                break
            ns[index] = ns[index + 1]


def grid(largest: int) -> list[int]:
    """Batch sizes with an entry of their own: 1, 2, 3, 4, 6, 8, 12 … and `largest`; at least two."""
    sizes = {1, 2, max(largest, 2)}
    power = 2
    while power < largest:
        sizes |= {size for size in (power, power * 3 // 2) if size < largest}
        power *= 2
    return sorted(sizes)


def _on_grid(sizes: list[int], measured: Mapping[int, float]) -> list[int]:
    """`measured` on `sizes`, made never falling. A single entry grows in proportion beyond itself."""
    if not measured:
        return [0] * len(sizes)
    known = sorted(measured)
    return list(accumulate((round(_interpolated(size, known, measured)) for size in sizes), max))


def _interpolated(size: int, known: list[int], measured: Mapping[int, float]) -> float:
    right = bisect_left(known, size)
    if size in measured:
        return measured[size]
    if right == 0:
        return float(measured[known[0]])
    if right < len(known):
        low, high = known[right - 1], known[right]
    elif len(known) == 1:
        return measured[known[0]] * size / known[0]
    else:
        low, high = known[-2], known[-1]
    slope = max(0.0, (measured[high] - measured[low]) / (high - low))
    return measured[low] + slope * (size - low)


def _positions(sizes: list[int]) -> tuple[list[int], list[float]]:
    """For each size from 0 to the last: the entry to its left, and its share of the way to the next."""
    left, share = [0], [0.0]
    for index, (low, high) in enumerate(pairwise(sizes)):
        for size in range(low, high):
            left.append(index)
            share.append((size - low) / (high - low))
    left.append(len(sizes) - 2)
    share.append(1.0)
    return left, share
