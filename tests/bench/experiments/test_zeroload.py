"""One request at a time: the figures, the table, the verdict."""

from __future__ import annotations

from typing import Any

import pytest

from beyond_serve.bench.experiments.zeroload import (
    EXPERIMENT,
    bar_parts,
    medians_us,
    tables,
    typical,
    verdicts,
)
from tests.bench.experiments.points import load, run_of, table


def point(size: str, overhead_us: float = 250.0, **of_load: Any) -> dict[str, Any]:
    stages_us = {"decode": 800.0, "transform": 50.0, "infer": 150.0}
    rows = table([stages_us], [1000.0 + overhead_us])
    stages_ms = {name: us / 1e3 for name, us in stages_us.items()}
    return {
        "labels": {"model": "demo", "size": size, "preprocess": "cpu"},
        "load": load(stages_ms=stages_ms, **of_load),
        "medians_us": medians_us(rows),
        "image_bytes": 121_000,
        "server": {"cpu": 0.5, "others_cpu": 0.3 if size == "large" else 0.0},
    }


def test_medians_are_not_moved_by_one_slow_request() -> None:
    usual = {"decode": 600.0, "transform": 100.0, "infer": 200.0, "batch_wait": 50.0}
    slow = usual | {"batch_wait": 90_050.0}
    found = medians_us(table([usual, usual, slow], [1000.0, 1000.0, 91_000.0]))
    assert found["total"] == 1000.0
    assert found["overhead"] == 100.0
    assert found["preprocess"] == 700.0
    assert found["preprocess_share"] == pytest.approx(0.7)
    assert found["client"] == 2000.0


def test_requests_without_a_trace_do_not_count() -> None:
    rows = table([{"decode": 600.0}, {"decode": 9.0}], [1000.0, 1.0], traced=(True, False))
    assert medians_us(rows)["decode"] == 600.0
    assert medians_us(table([{}], [1.0], traced=(False,))) == {}


def test_bars_show_the_requests_around_the_median_where_there_are_enough() -> None:
    assert typical({"mean": {"decode": 9.0}, "p50": {"decode": 1.0}}) == {"decode": 1.0}
    assert typical({"mean": {"decode": 9.0}}) == {"decode": 9.0}


def test_bars_have_every_part_once() -> None:
    parts = {"late": 0.1, "decode": 1.0, "residual": 0.2, "network": 0.4}
    shown = bar_parts(parts)
    assert shown == {"decode": 1.0, "network": 0.4, "other": pytest.approx(0.3)}
    assert sum(shown.values()) == pytest.approx(sum(parts.values()))


@pytest.mark.parametrize(("overhead_us", "met"), [(600.0, True), (601.0, False)])
def test_a_medium_image_may_have_six_tenths_of_a_millisecond(overhead_us: float, met: bool) -> None:
    (verdict,) = verdicts(run_of(point("small", 9999.0), point("medium", overhead_us)))
    assert verdict.met is met
    assert "demo, medium" in verdict.what


def test_a_void_run_meets_nothing() -> None:
    (verdict,) = verdicts(run_of(point("medium", void=("late",))))
    assert not verdict.met
    assert "void" in verdict.measured


def test_a_disturbed_verdict_says_so() -> None:
    found = point("medium") | {"server": {"others_cpu": 0.8}}
    (verdict,) = verdicts(run_of(found))
    assert verdict.met
    assert verdict.measured == "0.25 ms, while other programs took 80 % of the server's cores"


def test_without_a_medium_image_there_is_no_verdict() -> None:
    assert verdicts(run_of(point("large"))) == ()


def test_the_table_has_a_column_per_point_and_the_papers_share() -> None:
    run = run_of(point("medium"), point("large", void=("late",)))
    (found,) = tables(run)
    assert found.columns == ("", "demo, medium", "demo, large")
    rows = {row[0]: row[1:] for row in found.rows}
    assert rows["decode"] == (0.8, 0.8)
    assert rows["total less decode, transform, infer"] == (0.25, 0.25)
    assert rows["decode and transform, share of total"] == ("68 %", "68 %")
    assert "VOID, demo, large: late" in found.notes
    assert any(note.startswith("DISTURBED: in 1 of 2 points") for note in found.notes)
    medium, large, gpu = EXPERIMENT.published
    assert medium.ours(run) == "68 % (demo)"
    assert large.ours(run) == "68 % (demo, void)"
    assert gpu.ours(run) is None


def test_points_without_traces_are_left_out() -> None:
    untraced = point("medium") | {"load": load(), "medians_us": {}}
    run = run_of(untraced)
    assert tables(run) == ()
    assert verdicts(run) == ()
    assert EXPERIMENT.published[0].ours(run) is None


def test_plots_of_points_and_of_none() -> None:
    (figure,) = EXPERIMENT.plots(run_of(point("medium"), point("large", void=("late",))))
    labels = [text.get_text() for text in figure.drawing.axes[0].get_yticklabels()]
    assert labels == ["demo, medium", "demo, large"]
    (empty,) = EXPERIMENT.plots(run_of())
    assert [text.get_text() for text in empty.drawing.axes[0].texts] == ["no point was measured"]
