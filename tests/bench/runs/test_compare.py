"""Two runs side by side: what is paired, what is said, and when nothing may be said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from beyond_serve.bench.runs.compare import DEFAULT_FIELDS, compare, interleaved, took_turns
from beyond_serve.bench.runs.fields import direction, numeric_fields, value_at
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.errors import ConfigError

STEADY = (1.0, 1.01, 0.99, 1.005, 0.995)


def make(
    root: Path,
    speed: float = 1.0,
    factors: tuple[float, ...] = STEADY,
    experiment: str = "sweep",
    config: dict[str, object] | None = None,
    void: bool = False,
) -> RunFolder:
    run = RunFolder.create(root, experiment, config or {"model": "demo"}, seed=0)
    for repetition, factor in enumerate(factors):
        for concurrency in (1, 8):
            rate = 100.0 * concurrency * speed * factor
            latency = {"mean": 1e3 / rate, "p50": 0.9e3 / rate, "p99": 2e3 / rate}
            load = {"throughput_per_s": rate, "latency_ms": latency, "void": ["slow"] if void else []}
            run.add_point({"labels": {"concurrency": concurrency, "repetition": repetition}, "load": load})
    run.finish("complete")
    return run


def test_faster(tmp_path: Path) -> None:
    found = compare([make(tmp_path)], [make(tmp_path, 1.2)], DEFAULT_FIELDS)
    assert found.exit_code == 0
    assert {line.verdict for line in found.lines} == {"faster"}
    assert len(found.lines) == len(DEFAULT_FIELDS) * 3
    throughput = found.lines[0]
    assert throughput.labels == (("concurrency", "1"),)
    assert throughput.ratio.value == pytest.approx(1.2)
    assert throughput.repetitions == (5, 5)
    assert found.verdict.startswith("throughput_per_s: faster, latency_ms.mean: faster")


def test_slower(tmp_path: Path) -> None:
    found = compare([make(tmp_path)], [make(tmp_path, 0.8)], DEFAULT_FIELDS)
    assert found.exit_code == 1
    assert {line.verdict for line in found.lines} == {"slower"}


def test_no_difference_shown(tmp_path: Path) -> None:
    noisy = (1.0, 1.1, 0.9, 1.05, 0.95)
    found = compare([make(tmp_path, factors=noisy)], [make(tmp_path, 1.01, noisy)], DEFAULT_FIELDS)
    assert found.exit_code == 0
    assert {line.verdict for line in found.lines} == {"no difference shown"}


def test_one_repetition_gives_no_interval(tmp_path: Path) -> None:
    found = compare([make(tmp_path, factors=(1.0,))], [make(tmp_path, 0.5, (1.0,))], DEFAULT_FIELDS)
    assert {line.verdict for line in found.lines} == {"no interval"}
    assert found.exit_code == 0
    assert any(note.startswith("one repetition gives no interval") for note in found.notes)


def test_repetitions_in_several_folders(tmp_path: Path) -> None:
    before = [make(tmp_path, factors=(f,)) for f in STEADY]
    after = [make(tmp_path, 1.2, (f,)) for f in STEADY]
    found = compare(before, after, ("load.throughput_per_s",))
    assert [line.repetitions for line in found.lines] == [(5, 5)] * 3
    assert {line.verdict for line in found.lines} == {"faster"}


def test_another_configuration_is_not_comparable(tmp_path: Path) -> None:
    sides = [make(tmp_path, config={"model": "demo", "out": "a"})], [make(tmp_path, config={"model": "vit"})]
    found = compare(*sides, DEFAULT_FIELDS)
    assert (found.exit_code, list(found.lines)) == (2, [])
    assert found.verdict == "not comparable: config model: demo and vit"
    assert compare(*sides, DEFAULT_FIELDS, anyway=True).lines


def test_another_machine_is_not_comparable(tmp_path: Path) -> None:
    a, b = make(tmp_path), make(tmp_path)
    b.meta = replace(b.meta, machine={**b.meta.machine, "cores": 96})
    found = compare([a], [b], DEFAULT_FIELDS)
    assert found.exit_code == 2
    assert "machine cores" in found.verdict


def test_another_version_is_what_is_compared(tmp_path: Path) -> None:
    a, b = make(tmp_path), make(tmp_path)
    b.meta = replace(b.meta, versions={**b.meta.versions, "numpy": "9"})
    found = compare([a], [b], DEFAULT_FIELDS)
    assert found.lines
    assert any(note.startswith("numpy: ") and note.endswith(" and 9") for note in found.notes)


def test_two_experiments(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is a run of sweep, .* of ladder"):
        compare([make(tmp_path)], [make(tmp_path, experiment="ladder")], DEFAULT_FIELDS)


def test_void_points_are_left_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to compare"):
        compare([make(tmp_path)], [make(tmp_path, void=True)], DEFAULT_FIELDS)


def test_an_unknown_field_names_the_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"load\.speed") as caught:
        compare([make(tmp_path)], [make(tmp_path)], ["load.speed"])
    assert "load.latency_ms.p99" in (caught.value.hint or "")


def test_a_field_without_a_direction(tmp_path: Path) -> None:
    runs = []
    for size in (4.0, 8.0):
        run = RunFolder.create(tmp_path, "sweep", {}, 0)
        for factor in STEADY:
            run.add_point({"labels": {}, "batch": {"size": size * factor}})
        runs.append(run)
    found = compare([runs[0]], [runs[1]], ["batch.size"])
    assert [(line.verdict, line.over_all) for line in found.lines] == [("greater", True)]
    assert found.verdict == "batch.size: greater"


def point(concurrency: int, repetition: int) -> dict[str, object]:
    return {"labels": {"concurrency": concurrency, "repetition": repetition}}


def test_interleaved() -> None:
    assert interleaved([point(1, 0), point(8, 0), point(1, 1), point(8, 1)]) is True
    assert interleaved([point(1, 0), point(1, 1), point(8, 0), point(8, 1)]) is False
    assert interleaved([point(1, 0), point(8, 0)]) is None
    assert interleaved([point(1, 0), point(1, 1)]) is True


def test_took_turns(tmp_path: Path) -> None:
    runs = [make(tmp_path, factors=(1.0,)) for _ in range(4)]
    for second, run in enumerate(runs):
        run.meta = replace(run.meta, started=f"2026-01-01T00:00:0{second}+00:00")
    assert took_turns(runs[::2], runs[1::2])
    assert not took_turns(runs[:2], runs[2:])
    assert not took_turns(runs[:1], runs[1:2])


@pytest.mark.parametrize(
    ("field", "way"),
    [
        ("load.throughput_per_s", "more"),
        ("load.goodput_per_s", "more"),
        ("images_per_s", "more"),
        ("load.latency_ms.p99.9", "less"),
        ("load.stages_ms.mean.infer", "less"),
        ("joules", "less"),
        ("overhead_us", "less"),
        ("load.batch_size_mean", "neither"),
    ],
)
def test_direction(field: str, way: str) -> None:
    assert direction(field) == way


def test_fields_with_dots_in_their_keys() -> None:
    one = {"labels": {"n": 1}, "load": {"latency_ms": {"p99": 2.0, "p99.9": 3}}, "ok": True, "none": None}
    assert value_at(one, "load.latency_ms.p99") == 2.0
    assert value_at(one, "load.latency_ms.p99.9") == 3.0
    for absent in ("load.latency_ms", "load.none", "ok", "none", "load.latency_ms.p99.9.x"):
        assert value_at(one, absent) is None
    assert numeric_fields([one]) == ["load.latency_ms.p99", "load.latency_ms.p99.9"]
