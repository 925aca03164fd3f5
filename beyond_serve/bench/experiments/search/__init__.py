"""`beyond-bench search`: settings for the highest throughput, or goodput under an SLO (Beyond 2.3).

space      what may be chosen
halving    which of it is measured, and how long: successive halving with best-first steps
settings   a choice as a server's flags, and as `serve.toml`
measure    one choice, measured
run        the search
figures    tables and plots
"""

from __future__ import annotations

from beyond_serve.bench.experiments.experiment import Experiment, PublishedFigure
from beyond_serve.bench.experiments.search.figures import gain, plots, tables
from beyond_serve.bench.experiments.search.run import add_arguments, run
from beyond_serve.bench.experiments.serving import gpu_gap
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.bench.runs.tables import number


def _gained(run: RunFolder) -> str | None:
    found = gain(run)
    return None if found is None else f"{'+' if found >= 0 else '-'}{number(abs(found))} requests/s"


EXPERIMENT = Experiment(
    name="search",
    help="settings for the highest throughput, or goodput under an SLO, as serve.toml (Beyond 2.3)",
    add_arguments=add_arguments,
    run=run,
    tables=tables,
    plots=plots,
    published=(
        PublishedFigure(
            "what the search of the server's parameters brings over dynamic batching",
            "about +300 images/s",
            "Beyond 2.3, Fig. 3",
            _gained,
            "i9-13900K and one RTX 4090, ViT-Base",
        ),
    ),
    cannot=lambda: (
        f"{gpu_gap()}; so the search has no such axis",
        "preprocessing and inference as several processes of one device, as the paper counts them: here they "
        "are decode threads and instances of one server",
    ),
)
