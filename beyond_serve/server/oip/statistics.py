"""One model's entry of the statistics extension: cumulative counts and nanoseconds.

Source: triton-inference-server/server, docs/protocol/extension_statistics.md. Each image or row
counts as one request, since that is what is queued and batched here.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from beyond_serve.batching import Batch, Request


class Duration:
    """How often something happened and how long it took in all."""

    __slots__ = ("count", "ns")

    def __init__(self) -> None:
        self.count = 0
        self.ns = 0

    def add(self, count: int, ns: int) -> None:
        self.count += count
        self.ns += ns

    def as_dict(self) -> dict[str, int]:
        return {"count": self.count, "ns": self.ns}


class _BatchSize:
    """Durations of the executions of one batch size."""

    __slots__ = ("compute_infer", "compute_input", "compute_output")

    def __init__(self) -> None:
        self.compute_input = Duration()
        self.compute_infer = Duration()
        self.compute_output = Duration()


class ModelStatistics:
    """Counts what a model did since it was loaded. Owned by the event loop.

    The trace's stages fall into the extension's spans so that queue + compute_input +
    compute_infer + compute_output make up a success: `decode_wait` and `batch_wait` are queue,
    `decode`, `transform` and `copy_in` are input, `copy_out` and `postprocess` are output. A request's
    spans include the whole of its batch's, as Triton counts them.
    """

    def __init__(self, wall_clock_ns: Callable[[], int] = time.time_ns) -> None:
        self.inference_count = 0
        self.execution_count = 0
        self.last_inference_ms = 0
        self.success = Duration()
        self.fail = Duration()
        self.queue = Duration()
        self.compute_input = Duration()
        self.compute_infer = Duration()
        self.compute_output = Duration()
        self._sizes: dict[int, _BatchSize] = {}
        self._wall_clock_ns = wall_clock_ns

    def record_batch(self, batch: Batch) -> None:
        """Take a batch that ended; one that failed is counted request by request, by `record_failure`."""
        if batch.error is not None:
            return
        timing = batch.timing
        count = total = queue = host = 0
        for request in batch.requests:
            if request.outputs is None:
                continue  # Cancelled or expired while it ran.
            trace = request.trace
            prepared = trace.transformed - trace.decode_started if trace.transformed else 0
            count += 1
            host += prepared
            queue += timing.started - trace.admitted - prepared
            total += timing.postprocessed - trace.received
        self.execution_count += 1
        self._record_execution(batch)
        if count == 0:
            return
        self.inference_count += count
        self.last_inference_ms = self._wall_clock_ns() // 1_000_000
        self.success.add(count, total)
        self.queue.add(count, queue)
        self.compute_input.add(count, host + count * (timing.copied_in - timing.started))
        self.compute_infer.add(count, count * (timing.inferred - timing.copied_in))
        self.compute_output.add(count, count * (timing.postprocessed - timing.inferred))

    def _record_execution(self, batch: Batch) -> None:
        timing = batch.timing
        size = self._sizes.get(len(batch))
        if size is None:
            size = self._sizes[len(batch)] = _BatchSize()
        size.compute_input.add(1, timing.copied_in - timing.started)
        size.compute_infer.add(1, timing.inferred - timing.copied_in)
        size.compute_output.add(1, timing.postprocessed - timing.inferred)

    def record_failure(self, request: Request) -> None:
        """Take a request that was answered with an error."""
        self.fail.add(1, request.trace.borders()[-1] - request.trace.received)

    def as_dict(self, model_name: str, version: str) -> dict[str, object]:
        """The model's object in the list `model_stats`."""
        nothing = {"count": 0, "ns": 0}
        return {
            "name": model_name,
            "version": version,
            "last_inference": self.last_inference_ms,
            "inference_count": self.inference_count,
            "execution_count": self.execution_count,
            "inference_stats": {
                "success": self.success.as_dict(),
                "fail": self.fail.as_dict(),
                "queue": self.queue.as_dict(),
                "compute_input": self.compute_input.as_dict(),
                "compute_infer": self.compute_infer.as_dict(),
                "compute_output": self.compute_output.as_dict(),
                # Answers are never cached; clients expect the fields all the same.
                "cache_hit": nothing,
                "cache_miss": nothing,
            },
            "batch_stats": [
                {
                    "batch_size": batch_size,
                    "compute_input": size.compute_input.as_dict(),
                    "compute_infer": size.compute_infer.as_dict(),
                    "compute_output": size.compute_output.as_dict(),
                }
                for batch_size, size in sorted(self._sizes.items())
            ],
        }
