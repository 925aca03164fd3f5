"""Many traces as one table of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from beyond_serve.batching import STAGES, BatchTiming, Trace

_OWN = ("started", "received", "admitted", "decode_started", "decoded", "transformed")
_SHARED = ("started", "copied_in", "inferred", "copied_out", "postprocessed")
_own_marks = attrgetter(*_OWN, "replied")
_shared_marks = attrgetter(*_SHARED)
_timing = attrgetter("timing")


def borders_of(traces: Sequence[Trace]) -> NDArray[np.int64]:
    """The borders of finished traces, int64 [n, 12] nanoseconds; `Trace.borders` for each row.

    Marks that a batch shares are converted once for the batch.
    """
    own = np.fromiter(chain.from_iterable(map(_own_marks, traces)), np.int64).reshape(len(traces), -1)
    timings = list(map(_timing, traces))
    _, first, which = np.unique(
        np.fromiter(map(id, timings), np.int64), return_index=True, return_inverse=True
    )
    shared = np.array([_shared_marks(timings[index] or _NO_BATCH) for index in first.tolist()], np.int64)
    marks = np.empty((len(traces), len(STAGES) + 1), np.int64)
    marks[:, : len(_OWN)] = own[:, :-1]
    marks[:, len(_OWN) : -1] = shared[which]
    marks[:, -1] = own[:, -1]
    return np.maximum.accumulate(marks, axis=1)


_NO_BATCH = BatchTiming()
