"""The experiments of `beyond-bench`, in the order of its help.

To add one: a module here that defines `EXPERIMENT`, and a line in `EXPERIMENTS`.
"""

from __future__ import annotations

from beyond_serve.bench.experiments import (
    compare,
    energy,
    frameworks,
    ladder,
    load,
    models,
    multigpu,
    search,
    simulate,
    stages,
    sweep,
    zeroload,
)
from beyond_serve.bench.experiments.experiment import Experiment

EXPERIMENTS: tuple[Experiment, ...] = (
    load.EXPERIMENT,
    zeroload.EXPERIMENT,
    sweep.EXPERIMENT,
    stages.EXPERIMENT,
    ladder.EXPERIMENT,
    search.EXPERIMENT,
    models.EXPERIMENT,
    simulate.EXPERIMENT,
    multigpu.EXPERIMENT,
    energy.EXPERIMENT,
    frameworks.EXPERIMENT,
    compare.EXPERIMENT,
)
