"""`beyond-bench stages`: the parts alone beside the whole, and what bounds it (Beyond 4.4, Fig. 7).

measure     preprocessing alone, inference alone (resident, raw), end to end
diagnosis   the verdict, from numbers to words
figures     tables and plots
"""

from __future__ import annotations

from collections.abc import Callable

from beyond_serve.bench.experiments.experiment import Experiment, PublishedFigure
from beyond_serve.bench.experiments.serving import gpu_gap
from beyond_serve.bench.experiments.stages.figures import (
    PREPROCESS,
    RAW,
    RESIDENT,
    WHOLE,
    cases,
    is_void,
    plots,
    stage_rate,
    tables,
)
from beyond_serve.bench.experiments.stages.measure import add_arguments, run
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.bench.runs.tables import number

Ratio = Callable[[RunFolder, str, str], str | None]


def _of_size(sizes: tuple[str, ...], say: Ratio) -> Callable[[RunFolder], str | None]:
    def ours(run: RunFolder) -> str | None:
        said = [
            f"{text} ({model}, {size}{', void' if is_void(run, model, size) else ''})"
            for model, size in cases(run)
            if size in sizes and (text := say(run, model, size)) is not None
        ]
        return "; ".join(said) or None

    return ours


def share_of_inference(run: RunFolder, model: str, size: str) -> str | None:
    """End to end over inference alone, resident and raw, in per cent."""
    whole = stage_rate(run, model, WHOLE, size)
    alone = [(name, stage_rate(run, model, stage)) for name, stage in (("resident", RESIDENT), ("raw", RAW))]
    if whole is None:
        return None
    said = [f"{number(100 * whole / rate)} % of {name}" for name, rate in alone if rate]
    return ", ".join(said) or None


def preprocess_over_inference(run: RunFolder, model: str, size: str) -> str | None:
    """Preprocessing alone over inference alone."""
    preprocess, resident = stage_rate(run, model, PREPROCESS, size), stage_rate(run, model, RESIDENT)
    return f"{number(preprocess / resident)} times" if preprocess and resident else None


def whole_over_raw(run: RunFolder, model: str, size: str) -> str | None:
    """End to end over inference alone from raw tensors."""
    whole, raw = stage_rate(run, model, WHOLE, size), stage_rate(run, model, RAW)
    return f"{number(whole / raw)} times" if whole and raw else None


_WHERE, _HARDWARE = "Beyond 4.4, Fig. 7", "i9-13900K and one RTX 4090, GPU preprocessing"
EXPERIMENT = Experiment(
    name="stages",
    help="preprocessing and inference alone beside the whole, and what bounds it (Beyond, Fig. 7)",
    add_arguments=add_arguments,
    run=run,
    tables=tables,
    plots=plots,
    published=(
        PublishedFigure(
            "end to end over inference alone, large image, ViT-Base",
            "19.5 %",
            _WHERE,
            _of_size(("large",), share_of_inference),
            _HARDWARE,
        ),
        PublishedFigure(
            "preprocessing over inference alone, medium image",
            "about equal",
            _WHERE,
            _of_size(("medium",), preprocess_over_inference),
            _HARDWARE,
        ),
        PublishedFigure(
            "end to end over inference alone from raw tensors, small and medium, TinyViT",
            "above 1",
            _WHERE,
            _of_size(("small", "medium"), whole_over_raw),
            _HARDWARE,
        ),
    ),
    cannot=lambda: (gpu_gap(),),
)
