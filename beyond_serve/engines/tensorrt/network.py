"""A plan's weights on one device, as the engines on GPUs see them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from beyond_serve.engines.cuda.program import Buffers, NetworkSpec
from beyond_serve.engines.cuda.runtime import CudaError, CudaRuntime
from beyond_serve.engines.protocol import TensorSpec
from beyond_serve.engines.tensorrt.context_setup import ContextSetup
from beyond_serve.engines.tensorrt.plan import LoadedPlan, asynchronous_error
from beyond_serve.engines.tensorrt.plan_facts import PlanFacts, Profile, choose_profile, network_spec
from beyond_serve.engines.tensorrt.program import TensorRtProgram
from beyond_serve.errors import EngineError, ModelLoadError

CACHE_SUFFIX = ".rtxcache"


class TensorRtNetwork:
    """One engine with its weights; its programs' contexts share it.

    Args:
        row: the shape of one image of the plan's own input.
        max_batch: the largest batch that will be asked for.

    Raises:
        ModelLoadError: no profile takes such images, or an output cannot be served.
        CudaError: the device refuses.
    """

    def __init__(self, plan: LoadedPlan, runtime: CudaRuntime, row: Sequence[int], max_batch: int) -> None:
        self.runtime = runtime
        self._plan: LoadedPlan | None = plan
        self._lock = threading.Lock()
        profile = choose_profile(plan.facts, row, max_batch)
        self.profile = profile.index
        self.least_batch = profile.least[0]
        source = Path(plan.source)
        self._setup: ContextSetup | None = ContextSetup(plan, source.with_name(source.name + CACHE_SUFFIX))
        facts = replace(plan.facts, outputs=self._outputs(plan.facts, profile, row))
        self._spec = network_spec(facts, profile, row)

    @property
    def spec(self) -> NetworkSpec:
        return self._spec

    def _outputs(self, facts: PlanFacts, profile: Profile, row: Sequence[int]) -> tuple[TensorSpec, ...]:
        """Sizes that follow from the image's size, which TensorRT knows once that is set."""
        if all(-1 not in spec.shape[1:] for spec in facts.outputs):
            return facts.outputs
        context = self.create_context()
        stream = self.runtime.create_stream()
        try:
            self.checked(
                context.set_optimization_profile_async(profile.index, stream), "choosing the profile"
            )
            self.runtime.synchronize(stream)
            shape = (profile.most[0], *row)
            self.checked(context.set_input_shape(facts.inputs[0].name, shape), "setting the largest shape")
            return tuple(
                replace(spec, shape=(spec.shape[0], *tuple(context.get_tensor_shape(spec.name))[1:]))
                for spec in facts.outputs
            )
        except EngineError as error:
            raise ModelLoadError(error.message, error.hint) from error
        finally:
            self.runtime.destroy_stream(stream)

    def create_context(self) -> Any:
        """An IExecutionContext without memory for activations.

        Raises:
            CudaError, EngineError: TensorRT cannot make one.
        """
        with self._lock:
            if self._setup is None:
                raise EngineError("the engine is closed")
            context = self._setup.create()
        if context is None:
            raise self.refusal("making an execution context")
        return context

    def activation_bytes(self, context: Any) -> int:
        """What a context needs for the shapes that it is set to."""
        nbytes = int(context.update_device_memory_size_for_shapes())
        if not nbytes and self._plan is not None:
            # 0 means none, or that TensorRT does not know; then the profile's largest shape is enough.
            nbytes = int(self._plan.engine.get_device_memory_size_for_profile_v2(self.profile))
        return nbytes

    def program(self, stream: int, buffers: Buffers) -> TensorRtProgram:
        return TensorRtProgram(self, stream, buffers)

    def checked(self, done: bool, doing: str) -> None:
        """
        Raises:
            CudaError, EngineError: TensorRT has not `done` it.
        """
        if not done:
            raise self.refusal(doing)

    def refusal(self, doing: str) -> CudaError | EngineError:
        """The error of a call that answered None or False; whose it was, CUDA and the log tell."""
        plan = self._plan
        if plan is None:
            return EngineError("the engine is closed")
        error = self.runtime.last_error() or asynchronous_error(plan.log, doing)
        told = plan.log.told()
        plan.log.forget()
        return error or EngineError(f"TensorRT failed at {doing}: {told}")

    def close(self) -> None:
        """Contexts are gone by then; what they were made from goes now, the logger last."""
        setup, self._setup = self._setup, None
        plan, self._plan = self._plan, None
        if setup is not None:
            setup.close()
        if plan is not None:
            plan.close()
