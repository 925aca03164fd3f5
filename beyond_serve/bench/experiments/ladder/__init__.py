"""`beyond-bench ladder`: from a plain Python loop to the tuned server, a rung at a time (Beyond 2.3, Fig. 3).

rungs      the set-ups
plain_app  the lowest ones
quantize   the model of the highest one
measure    all of them, loaded in turns
figures    tables and plots
"""

from __future__ import annotations

from beyond_serve.bench.experiments.experiment import Experiment, PublishedFigure
from beyond_serve.bench.experiments.ladder.figures import factor, gained, highest, plots, tables, tails
from beyond_serve.bench.experiments.ladder.measure import add_arguments, run
from beyond_serve.bench.experiments.serving import gpu_gap

_WHERE, _HARDWARE = "Beyond 2.3, Fig. 3", "i9-13900K and one RTX 4090, ViT-Base"
EXPERIMENT = Experiment(
    name="ladder",
    help="from a plain Python loop to the tuned server, one thing at a time (Beyond, Fig. 3)",
    add_arguments=add_arguments,
    run=run,
    tables=tables,
    plots=plots,
    published=(
        PublishedFigure(
            "decoding taken out of the loop, over the plain loop",
            "446 / 431 = 1.03x",
            _WHERE,
            lambda run: factor(run, "decoder pool"),
            _HARDWARE,
        ),
        PublishedFigure(
            "tail latency, fixed to dynamic batches", "55 to 38 ms", "Beyond 2.3", tails, _HARDWARE
        ),
        PublishedFigure("the search over dynamic batching", "about +300 images/s", _WHERE, gained, _HARDWARE),
        PublishedFigure("the highest rung over the lowest", "1600 / 431 = 3.7x", _WHERE, highest, _HARDWARE),
    ),
    cannot=lambda: (
        f"the rungs on a GPU (nvJPEG decoding, ONNX Runtime and TensorRT there): {gpu_gap()}",
        "PyTorch and DALI, the paper's lowest rungs: the plain loop here is ONNX Runtime's, which is faster",
    ),
)
