"""The building blocks draw what they are given, nothing they were not, and no empty frame.

Looks are judged by eye; here: hollow means void, hatched means published, ends and sums are right.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from beyond_serve.bench.runs.figures import Figure
from beyond_serve.bench.runs.plots.axes import thinned, tick
from beyond_serve.bench.runs.plots.bars import BarSeries, grouped_bars
from beyond_serve.bench.runs.plots.curves import Panel, Series, curves
from beyond_serve.bench.runs.plots.ladder import Rung, ladder
from beyond_serve.bench.runs.plots.percentiles import Latencies, percentile_curves
from beyond_serve.bench.runs.plots.scatter import Dot, scatter
from beyond_serve.bench.runs.plots.stages import StageBar, by_rows, merge_small, segment_text, stage_bars
from beyond_serve.bench.runs.style import PAPER, STAGE_COLOURS, stamp


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.drawing.axes for text in axes.texts]


def bars_of(figure: Figure) -> list[Rectangle]:
    return [patch for patch in figure.drawing.axes[0].patches if isinstance(patch, Rectangle)]


@pytest.mark.parametrize(
    "figure",
    [
        lambda: stage_bars("n", "t", []),
        lambda: stage_bars("n", "t", [StageBar("a", {"decode": None, "infer": math.nan})]),
        lambda: curves("n", "t", "x", [Panel("y", [])]),
        lambda: curves("n", "t", "x", [Panel("y", [Series("a", [1.0], [None])])]),
        lambda: percentile_curves("n", "t", []),
        lambda: percentile_curves("n", "t", [Latencies.from_requests("a", np.array([math.nan]))]),
        lambda: ladder("n", "t", [Rung("a", None)]),
        lambda: grouped_bars("n", "t", ["g"], [BarSeries("a", [None])], "ms"),
        lambda: scatter("n", "t", [Dot("a", 0.0, 1.0)], "x", "y"),
    ],
)
def test_nothing_to_draw_is_said(figure: object) -> None:
    drawn = figure()  # type: ignore[operator]
    assert texts(drawn) == ["no point was measured"]
    stamp(drawn.drawing, drawn.title, "footer")


def test_stage_bars_sum_to_their_total() -> None:
    bars = [StageBar("a", {"decode": 1.0, "infer": 3.0}), StageBar("b", {"infer": 2.0}, void=True)]
    figure = stage_bars("n", "t", bars, shares=False)
    widths = [bar.get_width() for bar in bars_of(figure)]
    assert widths == pytest.approx([1.0, 3.0, 2.0])
    assert to_hex(bars_of(figure)[0].get_facecolor()) == STAGE_COLOURS["decode"]
    assert bars_of(figure)[2].get_facecolor()[3] == 0
    assert [text for text in texts(figure) if "ms" in text] == ["4.00 ms", "2.00 ms (void)"]
    shares = [bar.get_width() for bar in bars_of(stage_bars("n", "t", bars))]
    assert shares == pytest.approx([0.25, 0.75, 1.0])


def test_small_stages_are_added_up() -> None:
    merged = merge_small([{"decode": 99.8, "copy_in": 0.1, "reply": 0.1}, {"decode": 1.0, "reply": 0.1}])
    assert list(merged[0]) == ["decode", "reply", "other"]
    assert merged[0]["other"] == pytest.approx(0.1)
    assert "other" not in merged[1]


@pytest.mark.parametrize(("points", "text"), [(100.0, "decode 45 %"), (40.0, "45 %"), (10.0, "")])
def test_segments_say_what_fits(points: float, text: str) -> None:
    assert segment_text("decode", 0.45, points) == text


def test_a_legend_reads_along_its_rows() -> None:
    # Matplotlib fills columns first: a, c | b, d reads as rows a b, c d.
    assert by_rows(["a", "b", "c", "d"], 2) == ["a", "c", "b", "d"]


def test_void_points_are_hollow_and_published_lines_dashed() -> None:
    lines = [
        Series("ours", [1, 2, 4], [1.0, 2.0, 3.0], void=[False, False, True]),
        Series("paper", [1, 2, 4], [1.5, 2.5, 3.5], published=True),
    ]
    figure = curves("n", "t", "x", [Panel("y", lines)])
    drawn = figure.drawing.axes[0].lines
    hollow = [ln for ln in drawn if ln.get_marker() == "o" and ln.get_markerfacecolor() == PAPER]
    assert [list(ln.get_xdata()) for ln in hollow] == [[4]]
    assert [ln.get_linestyle() for ln in drawn if ln.get_linestyle() != "None"] == ["-", "--"]
    assert texts(figure) == ["ours", "paper"]
    # Not why: the generator is one reason of several.
    assert figure.drawing.axes[0].get_xlabel() == "x\nhollow: void (the table says why)"


def test_a_series_has_one_colour_in_all_panels() -> None:
    panels = [
        Panel("a", [Series("x", [1, 2], [1, 2]), Series("y", [1, 2], [2, 3])]),
        Panel("b", [Series("y", [1, 2], [5, 6])]),
    ]
    figure = curves("n", "t", "x", panels)
    first, second = figure.drawing.axes
    assert second.lines[0].get_color() == first.lines[3].get_color() != first.lines[0].get_color()


def test_curves_skip_what_was_not_measured() -> None:
    figure = curves("n", "t", "x", [Panel("y", [Series("a", [4, 1, 2], [3.0, 1.0, None])])])
    assert list(figure.drawing.axes[0].lines[0].get_xdata()) == [1, 4]


def test_percentiles_end_at_the_greatest_request() -> None:
    line = Latencies.from_requests("a", np.arange(1.0, 1001.0))
    assert line.stretched[0] == 1
    assert (line.stretched[-1], line.milliseconds[-1]) == (pytest.approx(1000), 1000.0)
    at = dict(zip(np.round(1 - 1 / line.stretched, 2), line.milliseconds, strict=True))
    assert at[0.9] == pytest.approx(900, abs=10)
    assert np.all(np.diff(line.milliseconds) >= 0)


def test_percentiles_of_a_summary() -> None:
    line = Latencies.from_summary("a", {"mean": 9.0, "p99": 5.0, "p50": 1.0, "max": 7.0})
    assert list(line.milliseconds) == [1.0, 5.0]
    assert list(line.stretched) == pytest.approx([2.0, 100.0])


def test_a_ladders_rungs() -> None:
    rungs = [
        Rung("a", 100.0, 431.0),
        Rung("gpu", None, why="needs a GPU"),
        Rung("b", 150.0),
        Rung("c", 120.0),
    ]
    figure = ladder("n", "t", rungs)
    assert texts(figure) == ["431", "100", "needs a GPU", "150   1.50x", "120   0.80x, 1.20x in all"]
    hatched = [bar.get_width() for bar in bars_of(figure) if bar.get_hatch()]
    assert hatched == [431.0]


def test_published_bars_are_hatched() -> None:
    series = [BarSeries("ours", [1.0, None]), BarSeries("paper", [2.0, 3.0], published=True, of="ours")]
    figure = grouped_bars("n", "t", ["g", "h"], series, "ms")
    drawn = [(bar.get_height(), bool(bar.get_hatch())) for bar in bars_of(figure)]
    assert drawn == [(1.0, False), (2.0, True), (3.0, True)]
    assert to_hex(bars_of(figure)[0].get_facecolor()) == to_hex(bars_of(figure)[1].get_edgecolor())


def test_scattered_names_appear_once_each() -> None:
    dots = [
        Dot("ViT", 17.6, 80.0, "CPU"),
        Dot("ViT", 17.6, 90.0, "GPU"),
        Dot("ResNet", 4.1, 60.0, "CPU", void=True),
    ]
    figure = scatter("n", "t", dots, "GFLOPs", "%")
    assert sorted(text for text in texts(figure) if text) == ["ResNet", "ViT"]
    assert sum(line.get_markerfacecolor() == PAPER for line in figure.drawing.axes[0].lines) == 1


@pytest.mark.parametrize(
    ("value", "text"), [(0.05, "0.05"), (2, "2"), (1500, "1,500"), (20000, "20k"), (3e6, "3M")]
)
def test_tick(value: float, text: str) -> None:
    assert tick(value) == text


def test_ticks_are_thinned_and_keep_the_last() -> None:
    assert thinned([1, 2, 4, 8], 2) == [2, 8]
    assert thinned([1, 2, 4], 9) == [1, 2, 4]
