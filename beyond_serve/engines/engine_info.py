"""Say what a loaded engine is; the same words for every engine that runs a file."""

from __future__ import annotations

from dataclasses import replace

from beyond_serve.engines.describe import ModelDescription
from beyond_serve.engines.protocol import EngineInfo, TensorSpec


def describe_engine(
    description: ModelDescription,
    engine: str,
    precision: str,
    image_shape: tuple[int, int, int],
    fixed_batch: int | None,
    warnings: tuple[str, ...],
) -> EngineInfo:
    if description.scores is None:
        warnings += (
            "no output is class scores ([n, classes]): the model's tensors are served, predictions are not",
        )
    return EngineInfo(
        engine=engine,
        precision=precision,
        device="cpu",
        inputs=tuple(_with_free_batch(spec) for spec in description.inputs),
        outputs=tuple(_with_free_batch(spec) for spec in description.outputs),
        image_shape=image_shape,
        fixed_batch=fixed_batch,
        scores=description.scores,
        scores_are_probabilities=description.scores_are_probabilities,
        warnings=warnings,
    )


def _with_free_batch(spec: TensorSpec) -> TensorSpec:
    # Free for clients even where the model's batch is fixed: other batches are padded or run in parts.
    return replace(spec, shape=(-1, *spec.shape[1:]))


def batch_warning(batch: int, *, freed: bool) -> str:
    if freed:
        return f"the model's fixed batch of {batch} was made free; it gives equal results"
    if batch == 1:
        return "the model has a fixed batch of 1 and cannot batch; export it with a dynamic batch axis"
    return f"the model has a fixed batch of {batch}; smaller batches are padded and cost as much"
