"""What an experiment is. `frame.py` runs any; each module beside it defines one."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.report import Verdict
from beyond_serve.bench.runs.figures import Figure
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.bench.runs.tables import Table


@dataclass(frozen=True, slots=True)
class PublishedFigure:
    """A figure of a paper, to stand beside ours.

    Attributes:
        what: the quantity with its unit ("preprocessing's share, medium image, CPU").
        published: as printed ("56 %").
        where: paper and section ("Beyond 4.2, Fig. 6").
        ours: the same quantity from a run's points, as text or a number; None where it was not measured.
        hardware: what the paper measured it on.
    """

    what: str
    published: str
    where: str
    ours: Callable[[RunFolder], object | None] = lambda run: None
    hardware: str = ""


def _nothing(run: RunFolder) -> Sequence[Verdict]:
    return ()


@dataclass(frozen=True, slots=True)
class Experiment:
    """One command of `beyond-bench` that measures, keeps its points and draws them.

    Attributes:
        name: of the command; lower case, hyphens.
        help: one line.
        add_arguments: adds the experiment's own flags; `--quick`, `--out` and `--seed` are there for all.
        run: measures and appends points to the run folder. May raise `BeyondError`; what it appended
            before stays. `KeyboardInterrupt` may pass through it or be kept inside.
        tables, plots, verdicts: drawn from the folder's points alone, so that they can be drawn again at
            any time. They get the points of interrupted runs too: any point may be missing, even all.
        published: the papers' figures.
        cannot: what this machine cannot measure, a sentence each; asked for before the run.
    """

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, RunFolder, Reporter], None]
    tables: Callable[[RunFolder], Sequence[Table]]
    plots: Callable[[RunFolder], Sequence[Figure]]
    published: Sequence[PublishedFigure] = ()
    cannot: Callable[[], Sequence[str]] = lambda: ()
    verdicts: Callable[[RunFolder], Sequence[Verdict]] = _nothing
