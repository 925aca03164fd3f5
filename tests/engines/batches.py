"""Batches and runs for the tests of engines."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from beyond_serve.batching import BatchTiming
from beyond_serve.engines.protocol import ENCODED, ExecutionContext, tensor_key
from beyond_serve.engines.slots import PayloadRows, SlotRows


def image_batch(rows: np.ndarray) -> SlotRows:
    return SlotRows(rows, range(len(rows)))


def tensor_batch(rows: np.ndarray) -> PayloadRows:
    return PayloadRows(tensor_key(rows.shape[1:]), list(rows))


def encoded_batch(count: int) -> PayloadRows:
    return PayloadRows(ENCODED, [b"\xff\xd8"] * count)


def infer(context: ExecutionContext, batch: SlotRows | PayloadRows) -> Mapping[str, np.ndarray]:
    return context.infer(batch, BatchTiming())
