"""A search's points as tables and plots."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from beyond_serve.bench.experiments.search.measure import disturbed
from beyond_serve.bench.experiments.search.run import confirmed
from beyond_serve.bench.experiments.search.settings import described
from beyond_serve.bench.runs.figures import Figure
from beyond_serve.bench.runs.folder import Point, RunFolder
from beyond_serve.bench.runs.tables import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BEST_SHOWN = 8


def of_phase(run: RunFolder, phase: str) -> list[Point]:
    return [point for point in run.points if point["labels"].get("phase") == phase]


def tables(run: RunFolder) -> Sequence[Table]:
    found = of_phase(run, "found")
    return [table for table in (_rounds(run), _best(run), _confirmation(run), _cost(found)) if table.rows]


def _rounds(run: RunFolder) -> Table:
    rows: list[Sequence[object]] = []
    for point in of_phase(run, "round"):
        best, estimate = point["ranked"][0]
        rows.append(
            (
                point["labels"]["round"],
                point["trials"],
                point["stepped"],
                point["budget_s"],
                len(point["kept"]),
                estimate,
                described(best),
            )
        )
    columns = ("round", "measured", "of them neighbours", "seconds each", "kept", "best estimate", "best")
    return Table("The search, round by round", columns, rows, disturbed(of_phase(run, "search")))


def _best(run: RunFolder) -> Table:
    rounds = of_phase(run, "round")
    ranked = rounds[-1]["ranked"][:_BEST_SHOWN] if rounds else []
    rows = [(*settings.values(), estimate) for settings, estimate in ranked]
    names = tuple(ranked[0][0]) if ranked else ()
    notes = ["estimate: the mean of all measurements, by their length"]
    return Table("The last round's best", (*names, "estimate"), rows, notes)


def _confirmation(run: RunFolder) -> Table:
    rows: list[Sequence[object]] = []
    settings = {p["labels"]["which"]: p["settings"] for p in of_phase(run, "confirm")}
    base = confirmed(run.points, "defaults")
    for which, named in settings.items():
        scores = confirmed(run.points, which) or [0.0]
        median = statistics.median(scores)
        times = median / statistics.median(base) if base and statistics.median(base) else None
        rows.append((which, described(named), min(scores), median, max(scores), times))
    notes = ["measured in turns after the search: the best of many tries is always flattered"]
    notes += [f"kept: {described(point['settings'])}" for point in of_phase(run, "kept")]
    return Table("Confirmed", ("", "settings", "lowest", "median", "highest", "times defaults"), rows, notes)


def _cost(found: Sequence[Point]) -> Table:
    rows = [
        (
            point["measurements"],
            point["load_s"],
            point["grid_s"],
            f"{100 * point['load_s'] / point['grid_s']:.2g} %",
            point["starts"],
        )
        for point in found
    ]
    columns = ("measurements", "seconds of load", "seconds for all", "share", "server starts")
    return Table("What the search cost", columns, rows, ["without warm-ups, starts and the confirmation"])


def gain(run: RunFolder) -> float | None:
    """Requests/s that the found settings bring over the defaults, of the confirmation's medians."""
    base, found = confirmed(run.points, "defaults"), confirmed(run.points, "found")
    return statistics.median(found) - statistics.median(base) if base and found else None


def plots(run: RunFolder) -> Sequence[Figure]:
    trials = of_phase(run, "search")
    goal = next((point["goal"] for point in of_phase(run, "found")), "score")
    return [_progress(run, trials, goal), _axes_figure(trials, goal)]


def _progress(run: RunFolder, trials: Sequence[Point], goal: str) -> Figure:
    from matplotlib.ticker import MaxNLocator

    from beyond_serve.bench.runs.plots.axes import nothing_measured, plain_numbers
    from beyond_serve.bench.runs.style import MUTED, new_figure

    drawing, (axes,) = new_figure(width=8.6, height=4.4)
    title = "Each measurement of the search"
    if not trials:
        nothing_measured(axes)
        return Figure("search-progress", title, drawing)
    for number in sorted({_round(trial) for trial in trials}):
        _draw_round(axes, trials, number)
    default = confirmed(run.points, "defaults")
    if default:
        level = statistics.median(default)
        axes.axhline(level, color=MUTED, linestyle="--", linewidth=1.2, label="the server's defaults")
    axes.set_ylim(0, 1.12 * max([*(trial["score"] for trial in trials), *default]))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("measurement; hollow: void" if any(map(_void, trials)) else "measurement")
    axes.set_ylabel(goal)
    plain_numbers(axes.yaxis)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=4, labelcolor=MUTED)
    caption = "Larger dots are longer measurements; within a round the order is that of the settings."
    return Figure("search-progress", title, drawing, caption)


def _draw_round(axes: Axes, trials: Sequence[Point], number: int) -> None:
    from beyond_serve.bench.runs.style import PAPER, series_colour

    colour = series_colour(number - 1)
    budget = next(trial["budget_s"] for trial in trials if _round(trial) == number)
    label: str | None = f"round {number}, {budget:.2g} s each"
    for void in (False, True):
        chosen = [
            (place, trial["score"])
            for place, trial in enumerate(trials, 1)
            if _round(trial) == number and _void(trial) is void
        ]
        if not chosen:
            continue
        axes.plot(
            *zip(*chosen, strict=True),
            linestyle="none",
            marker="o",
            markersize=3.5 + 1.6 * number,
            color=colour,
            markerfacecolor=PAPER if void else colour,
            label=label,
        )
        label = None


def _axes_figure(trials: Sequence[Point], goal: str) -> Figure:
    """One panel per setting: what was reached with each of its values."""
    from beyond_serve.bench.runs.plots.axes import nothing_measured
    from beyond_serve.bench.runs.style import new_figure

    names = list(trials[0]["settings"]) if trials else []
    title = "What was reached with each value of a setting"
    drawing, panels = new_figure(
        width=2.0 * max(len(names), 3), height=3.5, panels=max(len(names), 1), sharey=True
    )
    if not names:
        nothing_measured(panels[0])
        return Figure("search-settings", title, drawing)
    for axes, name in zip(panels, names, strict=True):
        _draw_setting(axes, trials, name)
    panels[0].set_ylabel(goal)
    panels[0].set_ylim(0, None)
    caption = (
        "Grey: every measurement. Blue: the best with that value, whatever the others were; values that the "
        "search soon gave up have few measurements and so a low best."
    )
    return Figure("search-settings", title, drawing, caption)


def _draw_setting(axes: Axes, trials: Sequence[Point], name: str) -> None:
    from beyond_serve.bench.runs.plots.axes import plain_numbers
    from beyond_serve.bench.runs.style import MUTED, series_colour

    values = sorted({trial["settings"][name] for trial in trials}, key=_sortable)
    axes.plot(
        [values.index(trial["settings"][name]) for trial in trials],
        [trial["score"] for trial in trials],
        linestyle="none",
        marker="o",
        markersize=3.5,
        color=MUTED,
        alpha=0.45,
    )
    best = [max(t["score"] for t in trials if t["settings"][name] == value) for value in values]
    # Between names there is nothing that a line could say.
    line = "none" if any(isinstance(value, str) for value in values) else "-"
    axes.plot(range(len(values)), best, marker="o", linestyle=line, color=series_colour(0))
    axes.set_xticks(range(len(values)), [str(value) for value in values], fontsize=8)
    axes.set_xlim(-0.5, len(values) - 0.5)
    axes.set_xlabel(name)
    plain_numbers(axes.yaxis)


def _round(point: Point) -> int:
    return int(point["labels"]["round"])


def _void(point: Point) -> bool:
    return bool(point.get("load", {}).get("void"))


def _sortable(value: Any) -> tuple[int, Any]:
    return (0, value) if isinstance(value, int) else (1, str(value))
