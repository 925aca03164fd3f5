"""The load generator. Knows servers by their protocols, and nothing of models or experiments.

arrivals, images, spec      what is asked for
prepare, probe              what must be known and made before
plan, workers, worker, run  processes: told, started, followed
drive, timer                when requests leave
wire, http_*, grpc_wire     how
rows, recorder, table       what became of each
collect, result, breakdown, percentiles, validity   what it means
"""

from beyond_serve.bench.load.arrivals import Arrivals, Bursts, ClosedLoop, ConstantRate, Poisson, Ramp, Replay
from beyond_serve.bench.load.images import ImageMix, MixImage, image_mix
from beyond_serve.bench.load.result import LoadResult
from beyond_serve.bench.load.run import run_load
from beyond_serve.bench.load.spec import LoadProgress, LoadSpec, Target
from beyond_serve.bench.load.table import RequestTable

__all__ = [
    "Arrivals",
    "Bursts",
    "ClosedLoop",
    "ConstantRate",
    "ImageMix",
    "LoadProgress",
    "LoadResult",
    "LoadSpec",
    "MixImage",
    "Poisson",
    "Ramp",
    "Replay",
    "RequestTable",
    "Target",
    "image_mix",
    "run_load",
]
