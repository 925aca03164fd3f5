"""How execution contexts of a plan are made, in each flavour's way."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from beyond_serve.engines.tensorrt.kept_file import write_whole
from beyond_serve.engines.tensorrt.plan import LoadedPlan

log = logging.getLogger(__name__)


class ContextSetup:
    """Makes contexts that bring no activation memory of their own.

    TensorRT-RTX compiles kernels for the GPU when a context first meets a shape; what it has compiled is
    kept in a file beside the plan, so that the next start need not wait for it. It could also capture CUDA
    graphs by itself, which ours would only contain again.
    """

    def __init__(self, plan: LoadedPlan, cache_path: Path) -> None:
        self._plan = plan
        self._cache_path = cache_path
        self._cache: Any = None
        self._kept = b""
        trt, engine = plan.trt, plan.engine
        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if not hasattr(engine, "create_runtime_config"):
            self._how = strategy
            return
        self._how = engine.create_runtime_config()
        self._how.set_execution_context_allocation_strategy(strategy)
        if hasattr(self._how, "cuda_graph_strategy"):
            self._set_up_rtx(trt)

    def _set_up_rtx(self, trt: Any) -> None:
        config = self._how
        config.cuda_graph_strategy = trt.CudaGraphStrategy.DISABLED
        # A kernel that is exchanged for a better one later would not be the one in the graph.
        config.dynamic_shapes_kernel_specialization_strategy = (
            trt.DynamicShapesKernelSpecializationStrategy.EAGER
        )
        cache = config.create_runtime_cache()
        if cache is None:
            return
        try:
            self._kept = self._cache_path.read_bytes()
        except OSError:
            pass
        else:
            if not cache.deserialize(self._kept):
                # Another driver or GPU, or a newer TensorRT-RTX: nothing is wrong.
                log.info("what was compiled for another machine in '%s' is not used", self._cache_path)
        if config.set_runtime_cache(cache):
            self._cache = cache

    def create(self) -> Any:
        """An IExecutionContext, or None if TensorRT refuses."""
        return self._plan.engine.create_execution_context(self._how)

    def close(self) -> None:
        """Keep what was compiled, and let go. A folder that cannot be written costs time and nothing else."""
        cache, self._cache, self._how = self._cache, None, None
        if cache is None:
            return
        made = cache.serialize()
        if made is None or bytes(made) == self._kept:
            return
        try:
            write_whole(self._cache_path, bytes(made))
        except OSError as error:
            log.warning(
                "compiled kernels cannot be kept in '%s' (%s); each start compiles them again",
                self._cache_path,
                error.strerror,
            )
