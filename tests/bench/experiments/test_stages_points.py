"""Evidence, tables and plots from the points of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from beyond_serve.bench.experiments.stages import EXPERIMENT
from beyond_serve.bench.experiments.stages.figures import cases, diagnoses, evidence
from tests.bench.experiments.points import load, run_of
from tests.bench.experiments.test_stages import DECODE_BOUND

PARTS = {
    "batch": 32,
    "decode_threads": 1,
    "instances": 1,
    "engine": "openvino",
    "precision": "bf16",
    "device": "cpu",
    "simulated": False,
    "on_cpu": True,
}


def part(stage: str, rate: float, cpu_s: float, size: str | None = None) -> dict[str, Any]:
    labels = {"model": "demo", "stage": stage} | ({} if size is None else {"size": size})
    return {"labels": labels, "images_per_s": rate, "cpu_s": cpu_s, "cores": 1, "parts": PARTS}


def loaded(
    stage: str, rate: float, size: str | None = None, void: tuple[str, ...] = (), **of_load: Any
) -> dict[str, Any]:
    labels = {"model": "demo", "stage": stage} | ({} if size is None else {"size": size})
    return {
        "labels": labels,
        "load": load(rate, 80.0, {"decode_wait": 60.0, "batch_wait": 3.0}, void, **of_load),
        "images_per_s": rate,
        "concurrency": 64,
        "cores": 1,
        "busy": {"decoders": 0.97, "instances": 0.05},
        "server": {"cpu": 0.98},
        "parts": PARTS,
    }


MEASURED = (
    part("preprocess", 1000.0, 0.001, "medium"),
    part("preprocess", 16.0, 0.06, "large"),
    part("inference, resident", 50_000.0, 0.00002),
    loaded("inference, raw", 400.0, bytes_sent=602_000_000),
    loaded("end to end", 800.0, "medium"),
    loaded("end to end", 15.0, "large", void=("late",)),
)


def test_evidence_is_gathered_from_the_points() -> None:
    found = evidence(run_of(*MEASURED), "demo", "medium")
    assert found is not None
    assert found.parts_cpu == pytest.approx(1.0)
    assert replace(found, raw=4000.0, input_ratio=None, batch=12.0, parts_cpu=None) == DECODE_BOUND
    assert found.input_ratio == pytest.approx(602 / 121)


def test_verdicts_of_every_size_that_was_measured() -> None:
    run = run_of(*MEASURED)
    assert cases(run) == [("demo", "medium"), ("demo", "large")]
    assert [(size, found.bound_by) for _, size, found in diagnoses(run)] == [
        ("medium", "decoding"),
        ("large", "nothing decided"),
    ]


def test_tables_show_the_parts_beside_the_whole() -> None:
    rates, verdicts = EXPERIMENT.tables(run_of(*MEASURED))
    medium, large = rates.rows
    assert medium[:6] == ("demo", "medium", 1000.0, 400.0, 50_000.0, 800.0)
    assert medium[7] == pytest.approx(81.6)
    assert large[-1] == "void"
    assert "VOID, demo, end to end, large: late" in rates.notes
    assert "demo: openvino bf16 on cpu" in rates.notes
    assert verdicts.rows[0][:3] == ("demo", "medium", "decoding")
    assert all(len(row) == len(table.columns) for table in (rates, verdicts) for row in table.rows)


def test_what_was_disturbed_or_void_is_told() -> None:
    slow = part("preprocess", 500.0, 0.001, "medium")
    run = run_of(slow, MEASURED[2], loaded("inference, raw", 10.0, void=("late",)), MEASURED[4])
    rates, _ = EXPERIMENT.tables(run)
    assert "DISTURBED: demo, preprocess, medium, alone, got 50 % of its cores" in rates.notes
    assert rates.rows[0][7] is None
    found = evidence(run, "demo", "medium")
    assert found is not None
    assert found.raw is None


def test_an_interrupted_run_shows_what_it_has() -> None:
    run = run_of(*MEASURED[:2])
    rates, verdicts = EXPERIMENT.tables(run)
    assert rates.rows[0][:6] == ("demo", "medium", 1000.0, None, None, None)
    assert verdicts.rows == []
    assert [figure.ours(run) for figure in EXPERIMENT.published] == [None] * 3
    assert EXPERIMENT.tables(run_of()) == ()


def test_the_papers_figures_beside_ours() -> None:
    share, equal, outlier = (figure.ours(run_of(*MEASURED)) for figure in EXPERIMENT.published)
    assert share == "0.03 % of resident, 3.75 % of raw (demo, large, void)"
    assert equal == "0.02 times (demo, medium)"
    assert outlier == "2.00 times (demo, medium)"


def test_a_plot_per_model() -> None:
    (figure,) = EXPERIMENT.plots(run_of(*MEASURED))
    assert figure.name == "stages-demo"
    labels = [text.get_text() for text in figure.drawing.axes[0].get_xticklabels()]
    assert labels == ["medium", "large"]
    assert EXPERIMENT.plots(run_of()) == []
