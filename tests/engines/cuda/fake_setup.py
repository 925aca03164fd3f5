"""What a context over the fake GPU is made from, and the rows that it is given."""

from __future__ import annotations

import numpy as np

from beyond_serve.engines.cuda.buckets import batch_buckets
from beyond_serve.engines.cuda.facts import ranking_of
from beyond_serve.engines.cuda.memory import PinnedRows
from beyond_serve.engines.cuda.setup import ContextSetup
from beyond_serve.engines.cuda.work import Capturing
from beyond_serve.engines.image_input import image_input
from beyond_serve.preprocess.plan import Normalization
from tests.engines.cuda.fake_network import (
    BYTE_INPUT,
    HEIGHT,
    WIDTH,
    FakeKernels,
    FakeNetwork,
    description,
    expected,
    normalised,
)
from tests.engines.cuda.fake_runtime import FakeRuntime

MAX_BATCH = 12


def make_setup(runtime: FakeRuntime, given=BYTE_INPUT, *, ranks: bool = True, **network) -> ContextSetup:
    net = FakeNetwork(runtime, given, **network)
    described = description(given, net.fixed_batch, net.classes)
    image, _ = image_input(described, Normalization(), (HEIGHT, WIDTH))
    return ContextSetup(
        runtime,
        net,
        image,
        batch_buckets(MAX_BATCH, net.fixed_batch),
        FakeKernels(runtime),
        ranking_of(described, net.spec) if ranks else None,
        PinnedRows(),
        Capturing(),
    )


def pixels(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, HEIGHT, WIDTH, 3), np.uint8)


def wanted(rows: np.ndarray, setup: ContextSetup) -> np.ndarray:
    return expected(rows.transpose(0, 3, 1, 2) if setup.takes_rows else normalised(rows, setup.image))
