"""The house style of every figure: colours, type, grid, footer. The one place that imports matplotlib.

Figures are made with `new_figure` inside `house_style()` (the frame sees to that for an experiment's
`plots`), and `stamp` adds what no figure may lack: title, machine line, and "simulated" where it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from beyond_serve.batching import STAGES
from beyond_serve.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

INSTALL: Final = "pip install 'beyond-serve[bench]'"

# Used by nothing but text, grid and background, so that the HTML report can exchange exactly these.
INK: Final = "#1b2027"
MUTED: Final = "#5f6872"
GRID: Final = "#d9dee3"
PAPER: Final = "#fefefe"

ON_LIGHT: Final = "#101418"
ON_DARK: Final = "#ffffff"

# Okabe and Ito's eight, which people with any of the common colour blindnesses tell apart; the yellow is
# left out, since it is too pale for a line on white.
SERIES: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a7a7a")
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")

# By kind of work: transport grey, preprocessing orange, waiting in the queue pink, the device blue.
# Waiting is the pale tone of what is waited for.
STAGE_COLOURS: Final[Mapping[str, str]] = {
    "late": "#4d4457",
    "network": "#8b939b",
    "receive": "#b4bbc2",
    "admit": "#d6dbdf",
    "decode_wait": "#f7dca8",
    "decode": "#e69f00",
    "transform": "#d55e00",
    "batch_wait": "#dba0c2",
    "copy_in": "#7cc4ee",
    "infer": "#0072b2",
    "copy_out": "#b9def4",
    "postprocess": "#009e73",
    "reply": "#5c646c",
    "residual": "#c8bfb2",
    "other": "#eceef0",
}
# As a load summary names them: "late" is from schedule to send, "network" client less server.
STAGE_ORDER: Final = ("late", "network", *STAGES, "residual", "other")

_RC: Final[dict[Any, Any]] = {
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titleweight": "normal",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.titlecolor": INK,
    "axes.facecolor": PAPER,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.which": "major",
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.minor.visible": False,
    "ytick.minor.visible": False,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "lines.linewidth": 2.0,
    "lines.markersize": 5.5,
    "hatch.linewidth": 0.9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "path",
    "svg.hashsalt": "beyond-bench",
    "figure.dpi": 100,
}
_INCH_FOOTER, _INCH_TITLE = 0.30, 0.42


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """Everything drawn inside looks alike, and nothing outside changes.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise ConfigError("plots need matplotlib, which is not installed", INSTALL) from None
    with matplotlib.rc_context(_RC):
        yield


def new_figure(
    width: float = 8.6, height: float = 4.6, panels: int = 1, **subplots: Any
) -> tuple[Drawing, list[Axes]]:
    """A figure of `width` x `height` inches and its panels side by side; `subplots` as matplotlib's.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    with house_style():
        from matplotlib.figure import Figure as MatplotlibFigure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        drawing = MatplotlibFigure(figsize=(width, height), layout="constrained")
        # Room for what `stamp` adds; from the start, so that labels can be placed where they will stay.
        bottom, top = _INCH_FOOTER / height, 1 - _INCH_TITLE / height
        engine = drawing.get_layout_engine()
        assert isinstance(engine, ConstrainedLayoutEngine)
        engine.set(rect=(0.008, bottom, 0.984, top - bottom))
        grid = drawing.subplots(1, panels, squeeze=False, **subplots)
    return drawing, list(grid[0])


def stamp(drawing: Drawing, title: str, footer: str, mark: str = "") -> None:
    """Title above, machine line below, `mark` ("simulated") across the paper. Once per figure."""
    width, height = drawing.get_size_inches()
    indent = 0.12 / width
    drawing.text(
        indent, 1 - 0.12 / height, title, ha="left", va="top", fontsize=12, fontweight="bold", color=INK
    )
    # A letter takes about 0.56 of its size: a narrow figure has a smaller line rather than a cut one.
    size = min(7.0, (72 * width - 17) / (0.56 * max(len(footer), 1)))
    drawing.text(indent, 0.09 / height, footer, ha="left", va="bottom", fontsize=size, color=MUTED)
    if mark:
        drawing.text(
            *(0.5, 0.5),
            mark,
            ha="center",
            va="center",
            rotation=24,
            fontsize=min(54, 640 / max(len(mark), 1)),
            fontweight="bold",
            color=MUTED,
            alpha=0.13,
            zorder=10,
        )


def series_colour(index: int) -> str:
    return SERIES[index % len(SERIES)]


def series_marker(index: int) -> str:
    return MARKERS[index % len(MARKERS)]


def text_on(colour: str) -> str:
    """Black or white, whichever reads better on `colour` ("#rrggbb"); WCAG's relative luminance."""
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = sum(
        weight * channel for weight, channel in zip((0.2126, 0.7152, 0.0722), linear, strict=True)
    )
    return ON_LIGHT if luminance > 0.25 else ON_DARK


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places for labels: `gap` apart at least, in the order of `wanted`, near to it, within [low, high].

    If they cannot all fit they are spaced evenly over the range.
    """
    count = len(wanted)
    if count == 0:
        return []
    if (count - 1) * gap >= high - low:
        step = (high - low) / max(count - 1, 1)
        ranks = {index: rank for rank, index in enumerate(sorted(range(count), key=wanted.__getitem__))}
        return [low + ranks[index] * step for index in range(count)]
    order = sorted(range(count), key=wanted.__getitem__)
    places = [min(max(wanted[index], low), high) for index in order]
    for rank in range(1, count):
        places[rank] = max(places[rank], places[rank - 1] + gap)
    places[-1] = min(places[-1], high)
    for rank in range(count - 2, -1, -1):
        places[rank] = min(places[rank], places[rank + 1] - gap)
    return [places[order.index(index)] for index in range(count)]


def stage_order(names: Iterable[str]) -> list[str]:
    """The trace's stages in its order, then any others as they come."""
    given = list(dict.fromkeys(names))
    return [name for name in STAGE_ORDER if name in given] + [n for n in given if n not in STAGE_ORDER]


def stage_colour(name: str) -> str:
    return STAGE_COLOURS.get(name, STAGE_COLOURS["other"])
