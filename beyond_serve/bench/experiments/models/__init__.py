"""`beyond-bench models`: what of the time is the DNN's, over what models cost (Beyond 4.1, Fig. 4).

nets       networks of stated cost, made here
source     a model by file or by name
measure    each model, one request at a time and many
figures    tables and plots
"""

from __future__ import annotations

from beyond_serve.bench.experiments.experiment import Experiment, PublishedFigure
from beyond_serve.bench.experiments.models.figures import crossing, plots, range_above, resnet50, tables
from beyond_serve.bench.experiments.models.measure import add_arguments, run
from beyond_serve.bench.experiments.serving import gpu_gap

_WHERE, _HARDWARE = "Beyond 4.1, Fig. 4", "i9-13900K and one RTX 4090"
EXPERIMENT = Experiment(
    name="models",
    help="the DNN's share of the time, over what models cost (Beyond, Fig. 4)",
    add_arguments=add_arguments,
    run=run,
    tables=tables,
    plots=plots,
    published=(
        PublishedFigure(
            "the DNN takes half of the time from", "about 5 GFLOPs (GMACs)", _WHERE, crossing, _HARDWARE
        ),
        PublishedFigure("not the DNN's, ResNet-50", "more than half", _WHERE, resnet50, _HARDWARE),
        PublishedFigure(
            "not the DNN's, above 10 GFLOPs (GMACs)", "16 to 49 %", _WHERE, range_above, _HARDWARE
        ),
        PublishedFigure(
            "throughput gained by preprocessing on the GPU",
            "-2.9 to +104 %, mean 34 %",
            _WHERE,
            hardware=_HARDWARE,
        ),
    ),
    cannot=lambda: (
        gpu_gap(),
        "the DNN on a GPU: on a CPU it takes far more of the time, and half of it from far fewer GMACs on",
        "segmentation, detection and depth, which the paper has beside classification: their answers are no "
        "class scores (give their ONNX files to --models if they have one image input)",
    ),
)
