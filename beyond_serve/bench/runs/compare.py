"""Did it get faster: the points of two runs side by side, paired by their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from beyond_serve.bench.runs.bootstrap import Ratio, geometric_mean_ratio, ratio
from beyond_serve.bench.runs.fields import direction, numeric_fields, value_at
from beyond_serve.bench.runs.folder import Point, RunFolder
from beyond_serve.errors import ConfigError

DEFAULT_FIELDS = (
    "load.throughput_per_s",
    "load.latency_ms.mean",
    "load.latency_ms.p50",
    "load.latency_ms.p99",
)
REPETITION = "repetition"
Verdict = Literal["faster", "slower", "greater", "less", "no difference shown", "no interval"]
# Where and how much was written does not change what was measured.
_NO_MATTER = frozenset({"out", "seed", "experiment"})

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One field of one measurement: B over A.

    Attributes:
        labels: of the points, without the repetition; empty in a line over several measurements.
        a, b: means over the repetitions, of which there were `repetitions` (A's, B's).
    """

    labels: Labels
    field: str
    a: float | None
    b: float | None
    repetitions: tuple[int, int]
    ratio: Ratio
    verdict: Verdict
    over_all: bool = False
    """Whether it is the field's line over all measurements, or of the only one: these decide."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `compare` found.

    Attributes:
        differences: of machine and configuration; with any, and not asked to go on, there are no lines.
        notes: versions, void points, what had no counterpart, the order of repetitions.
    """

    names: tuple[str, str]
    lines: Sequence[Line]
    differences: Sequence[str]
    notes: Sequence[str]

    @property
    def verdict(self) -> str:
        """In words; of the lines over all points, which a single unlucky point does not turn."""
        if not self.lines:
            return f"not comparable: {'; '.join(self.differences)}"
        overall = [line for line in self.lines if line.over_all]
        return ", ".join(f"{line.field.removeprefix('load.')}: {line.verdict}" for line in overall)

    @property
    def exit_code(self) -> int:
        """0 no field is slower over all points, 1 one is, 2 not comparable. Single points do not decide:
        of forty, one or two look different by chance."""
        if not self.lines:
            return 2
        return int(any(line.verdict == "slower" for line in self.lines if line.over_all))


def compare(
    a: Sequence[RunFolder], b: Sequence[RunFolder], fields: Sequence[str], anyway: bool = False
) -> Comparison:
    """Pair the points of the runs `a` and `b` by labels and compare `fields`, dotted paths into a point.

    Points of equal labels are repetitions of one measurement, in whichever run of a side they are.

    Raises:
        ConfigError: runs of two experiments, or no field that both have in a point of equal labels.
    """
    for run in (*a, *b):
        if run.meta.experiment != a[0].meta.experiment:
            raise ConfigError(
                f"{a[0].path} is a run of {a[0].meta.experiment}, {run.path} of {run.meta.experiment}",
                "compare runs of one experiment",
            )
    names = (", ".join(str(run.path) for run in a), ", ".join(str(run.path) for run in b))
    differences = list(dict.fromkeys(clause for run in (*a, *b) for clause in differing(a[0], run)))
    notes = _notes(a, b)
    if differences and not anyway:
        return Comparison(names, (), differences, notes)
    one, other = ([point for run in side for point in run.points] for side in (a, b))
    lines: list[Line] = []
    for field in fields:
        lines += _lines(field, _measured(one, field), _measured(other, field))
    if not lines:
        raise ConfigError(
            f"nothing to compare: no valid points of equal labels have {' or '.join(fields)}",
            f"fields of A: {', '.join(numeric_fields(one)) or 'none'}",
        )
    if any(line.ratio.low is None for line in lines):
        notes.append("one repetition gives no interval: run each side again, in turns, and give all folders")
    return Comparison(names, lines, differences, notes)


def differing(a: RunFolder, b: RunFolder) -> list[str]:
    """What of machine and configuration is not the same, a clause each. Versions may differ: they are
    what is compared."""
    found: list[str] = []
    for what, left, right, ignored in (
        ("machine", a.meta.machine, b.meta.machine, frozenset[str]()),
        ("config", a.meta.config, b.meta.config, _NO_MATTER),
    ):
        found += [
            f"{what} {key}: {left.get(key)} and {right.get(key)}"
            for key in sorted({*left, *right} - ignored)
            if left.get(key) != right.get(key)
        ]
    return found


def interleaved(points: Sequence[Point]) -> bool | None:
    """Whether repetitions of a measurement took turns with the other measurements, so that a machine that
    slows down with time cannot look like a difference between them. None without repetitions."""
    keys = [_key(point) for point in points]
    if len(set(keys)) == len(keys):
        return None
    return len(set(keys)) == 1 or all(one != then for one, then in pairwise(keys))


def _lines(
    field: str, a: Mapping[Labels, Sequence[float]], b: Mapping[Labels, Sequence[float]]
) -> list[Line]:
    both = [labels for labels in a if labels in b]
    lines = []
    for labels in both:
        one, other = a[labels], b[labels]
        found = ratio(one, other)
        means = (sum(one) / len(one), sum(other) / len(other))
        verdict, counts = _verdict(field, found), (len(one), len(other))
        lines.append(Line(labels, field, *means, counts, found, verdict, over_all=len(both) == 1))
    if len(both) > 1:
        overall = geometric_mean_ratio([(a[labels], b[labels]) for labels in both])
        counts = (min(len(a[labels]) for labels in both), min(len(b[labels]) for labels in both))
        verdict = _verdict(field, overall)
        lines.append(Line((), field, None, None, counts, overall, verdict, over_all=True))
    return lines


def _verdict(field: str, found: Ratio) -> Verdict:
    if found.low is None:
        return "no interval"
    if not found.certain:
        return "no difference shown"
    up = found.value > 1
    way = direction(field)
    if way == "neither":
        return "greater" if up else "less"
    return "faster" if up is (way == "more") else "slower"


def _measured(points: Sequence[Point], field: str) -> dict[Labels, list[float]]:
    """The positive values of `field` in valid points, by labels; several are repetitions."""
    found: dict[Labels, list[float]] = {}
    for point in points:
        value = value_at(point, field)
        if value is not None and value > 0 and not _is_void(point):
            found.setdefault(_key(point), []).append(value)
    return found


def _key(point: Point) -> Labels:
    labels = point["labels"]
    return tuple(sorted((str(key), str(labels[key])) for key in labels if key != REPETITION))


def _is_void(point: Point) -> bool:
    load = point.get("load")
    return bool(point.get("void")) or (isinstance(load, dict) and bool(load.get("void")))


def _notes(a: Sequence[RunFolder], b: Sequence[RunFolder]) -> list[str]:
    before, after = a[0].meta.versions, b[0].meta.versions
    notes = [
        f"{key}: {before.get(key, 'none')} and {after.get(key, 'none')}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]
    for name, side in (("A", a), ("B", b)):
        notes += [f"{run.path} is {run.meta.status}" for run in side if run.meta.status != "complete"]
        if void := sum(_is_void(point) for run in side for point in run.points):
            notes.append(f"{name}: {void} void points are left out")
        if any(interleaved(run.points) is False for run in side):
            notes.append(
                f"{name}: repetitions were not interleaved; a drifting machine can look like a change"
            )
    if not took_turns(a, b):
        notes.append("the runs of A and B did not take turns; a drifting machine can look like a change")
    keys = [{_key(point) for run in side for point in run.points} for side in (a, b)]
    if alone := len(keys[0] ^ keys[1]):
        notes.append(f"{alone} measurements have no counterpart on the other side")
    return notes


def took_turns(a: Sequence[RunFolder], b: Sequence[RunFolder]) -> bool:
    """Whether runs of A and of B alternated in time, twice at least."""
    order = sorted([(run.meta.started, "a") for run in a] + [(run.meta.started, "b") for run in b])
    return len(order) > 2 and all(one[1] != then[1] for one, then in pairwise(order))
