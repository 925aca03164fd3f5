"""`beyond-bench frameworks`: one network in each framework, and what preprocessing costs beside it
(SMOL, Table 1 and Fig. 1).

networks    the model in ONNX Runtime, OpenVINO, PyTorch
measure     the networks over batch sizes; preprocessing step after step
figures     tables and plots
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence

from beyond_serve.bench.experiments.experiment import Experiment, PublishedFigure
from beyond_serve.bench.experiments.frameworks.figures import (
    best,
    by_framework,
    cumulative_ms,
    over_network,
    plots,
    tables,
)
from beyond_serve.bench.experiments.frameworks.measure import ALL, DECODE, OURS, THEIRS, add_arguments, run
from beyond_serve.bench.experiments.frameworks.networks import TORCH
from beyond_serve.bench.experiments.serving import gpu_gap
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.bench.runs.tables import number


def best_of(framework: str) -> Callable[[RunFolder], str | None]:
    """A framework's rate at its best batch size."""

    def told(run: RunFolder) -> str | None:
        rates = [
            f"{number(best(points)[1])} at {best(points)[0]} ({name})"
            for name, points in by_framework(run).items()
            if name.startswith(framework)
        ]
        return ", ".join(rates) or None

    return told


def fastest_over_slowest(run: RunFolder) -> str | None:
    rates = {name: best(points)[1] for name, points in by_framework(run).items()}
    if len(rates) < 2:
        return None
    fast, slow = max(rates, key=rates.__getitem__), min(rates, key=rates.__getitem__)
    return f"{number(rates[fast] / rates[slow])}x, {fast} over {slow}"


def times_of_network(step: str) -> Callable[[RunFolder], str | None]:
    """How many times as long as the network each pipeline takes up to `step`."""

    def told(run: RunFolder) -> str | None:
        ratios = [
            f"{number(ratio)}x ({what.partition(' (')[0]})"
            for what in (THEIRS, OURS)
            if (ratio := over_network(cumulative_ms(run, what), step)) is not None
        ]
        return ", ".join(ratios) or None

    return told


def cannot() -> Sequence[str]:
    told = [f"TensorRT: {gpu_gap().rpartition(': ')[2]}", "Keras: the model is ONNX, which it does not read"]
    if importlib.util.find_spec("torch") is None:
        told.append(f"{TORCH}: torch is not installed")
    return told


_TABLE, _FIGURE = "SMOL 2, Table 1", "SMOL 2, Fig. 1"
_T4 = "AWS g4dn.xlarge: one T4, 4 vCPUs, ResNet-50"
EXPERIMENT = Experiment(
    name="frameworks",
    help="one network in each framework, and preprocessing beside it (SMOL, Table 1 and Fig. 1)",
    add_arguments=add_arguments,
    run=run,
    tables=tables,
    plots=plots,
    published=(
        PublishedFigure("Keras, images/s", "243 at 64", _TABLE, hardware=_T4),
        PublishedFigure("PyTorch, images/s", "424 at 256", _TABLE, best_of(TORCH), _T4),
        PublishedFigure("TensorRT, images/s", "4,513 at 64", _TABLE, hardware=_T4),
        PublishedFigure(
            "fastest over slowest", "18.6x, TensorRT over Keras", _TABLE, fastest_over_slowest, _T4
        ),
        PublishedFigure(
            "preprocessing over network, time",
            "7.1x ResNet-50, 22.9x ResNet-18",
            _FIGURE,
            times_of_network(ALL),
        ),
        PublishedFigure("decoding alone over network, time", "above 1x", _FIGURE, times_of_network(DECODE)),
    ),
    cannot=cannot,
)
