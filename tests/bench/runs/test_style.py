from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from beyond_serve.batching import STAGES
from beyond_serve.bench.runs.style import (
    GRID,
    INK,
    MUTED,
    ON_DARK,
    ON_LIGHT,
    PAPER,
    SERIES,
    STAGE_COLOURS,
    house_style,
    spread,
    stage_order,
    text_on,
)

places = st.lists(st.floats(0, 1), max_size=12)


@given(places, st.floats(0.001, 0.3))
def test_labels_are_spread(wanted: list[float], gap: float) -> None:
    found = spread(wanted, gap, 0.0, 1.0)
    assert len(found) == len(wanted)
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in found) or (len(wanted) - 1) * gap >= 1
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    step = min(gap, 1 / max(len(wanted) - 1, 1))
    for one, then in pairwise(order):
        assert found[then] - found[one] >= step - 1e-9


def test_labels_with_room_stay_where_they_are() -> None:
    assert spread([0.9, 0.1, 0.5], 0.1, 0, 1) == [0.9, 0.1, 0.5]


def test_every_stage_has_a_colour_of_its_own() -> None:
    assert set(STAGES) < set(STAGE_COLOURS)
    assert len(set(STAGE_COLOURS.values())) == len(STAGE_COLOURS)


def test_theme_colours_are_nothing_else() -> None:
    data = {*SERIES, *STAGE_COLOURS.values(), ON_DARK, ON_LIGHT}
    assert data.isdisjoint({INK, MUTED, GRID, PAPER})


def test_text_reads_on_its_colour() -> None:
    assert text_on("#0072b2") == ON_DARK
    assert text_on("#f7dca8") == ON_LIGHT


def test_stages_stand_in_the_traces_order() -> None:
    assert stage_order(["infer", "extra", "decode", "network", "infer"]) == [
        "network",
        "decode",
        "infer",
        "extra",
    ]


def test_the_style_ends_with_its_block() -> None:
    import matplotlib

    before = matplotlib.rcParams["axes.spines.top"]
    with house_style():
        assert matplotlib.rcParams["axes.spines.top"] is False
    assert matplotlib.rcParams["axes.spines.top"] == before
