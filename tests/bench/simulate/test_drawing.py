"""Tables and figures from points, whichever there are."""

from __future__ import annotations

from typing import Any

import pytest

from beyond_serve.bench.runs.style import house_style
from beyond_serve.bench.simulate import drawing
from beyond_serve.bench.simulate.multi_gpu import CURVES, HOSTS
from beyond_serve.bench.simulate.points import measure, scenario
from beyond_serve.bench.simulate.scenario import VIT_BASE_LIKE


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    return measure(scenario(VIT_BASE_LIKE, "fixed", 0.5, requests=700, slo_ms=50.0), {})


def labelled(point: dict[str, Any], **labels: object) -> dict[str, Any]:
    return {**point, "labels": labels}


def of_every_kind(kept: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        *(
            labelled(kept, part="policies", policy=policy, load=load)
            for policy in "ab"
            for load in (0.5, 2.0)
        ),
        labelled(kept, question="overload", policy="fixed", load=0.5, **{"arrivals seed": 3}),
        labelled(kept, question="overload", policy="fixed", load=0.5, **{"arrivals seed": 4}),
        labelled(kept, question="bursts", policy="fixed", arrivals="burst:10"),
        labelled(kept, question="waiting", policy="adaptive", max_delay_us=0, instances=4, load=0.5),
        labelled(kept, question="tight", policy="deferred", instances=8, load=0.5),
        labelled(kept, figure=9, host=HOSTS[0].name, curve=CURVES[0], gpus=1),
        labelled(kept, part="check", arrivals="poisson", load=0.5, side="real"),
    ]


def test_every_kind_of_points_has_its_table(kept: dict[str, Any]) -> None:
    tables = drawing.tables(of_every_kind(kept))
    assert [len(table.rows) for table in tables] == [4, 1, 1, 1, 1, 1, 1]
    for table in tables:
        assert all(len(row) == len(table.columns) for row in table.rows), table.title
    overload = tables[1].rows[0]
    assert overload[-1] == 2, "seeds"


def test_what_was_not_answered_is_counted_by_why(kept: dict[str, Any]) -> None:
    point, fine = (labelled(kept, part="policies", policy="a", load=load) for load in (2.0, 0.5))
    point["load"] = kept["load"] | {"errors": {"queue full": 1200, "refused: deadline cannot be met": 3}}
    _, table = drawing.tables([point, fine])
    assert table.columns == ("policy", "load", "queue full", "refused", "wasted")
    assert list(table.rows) == [("a", 2.0, 1200, 3, 0)]


def test_every_kind_of_points_but_bursts_and_the_check_has_its_figures(kept: dict[str, Any]) -> None:
    with house_style():
        figures = drawing.figures(of_every_kind(kept))
    names = [figure.name for figure in figures]
    assert names == ["goodput", "latency", "batches", "queue", "overload", "waiting", "tight", "figure-9-1"]


def test_without_points_there_is_nothing() -> None:
    assert drawing.tables([]) == []
    assert drawing.figures([]) == []
