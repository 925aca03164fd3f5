"""What a network on a GPU says of itself to the rest of the server. Pure."""

from __future__ import annotations

import math

from beyond_serve.engines.cuda.kernels import RANKED, RANKS
from beyond_serve.engines.cuda.program import NetworkSpec
from beyond_serve.engines.cuda.runtime import DeviceFacts
from beyond_serve.engines.cuda.setup import Ranking
from beyond_serve.engines.cuda.tensors import as_served, row_layout
from beyond_serve.engines.describe import ModelDescription
from beyond_serve.engines.engine_info import batch_warning
from beyond_serve.engines.image_input import ImageInput
from beyond_serve.engines.protocol import EngineInfo


def ranking_of(description: ModelDescription, spec: NetworkSpec) -> Ranking | None:
    """What the ranking kernel has to do; None if there are no scores that it reads."""
    for output in spec.outputs:
        if output.name == description.scores and output.datatype in RANKED:
            classes = math.prod(row_layout(output).shape)
            return Ranking(output, classes, min(RANKS, classes), description.scores_are_probabilities)
    return None


def cuda_info(
    engine: str,
    description: ModelDescription,
    spec: NetworkSpec,
    image: ImageInput,
    device: DeviceFacts,
    ranking: Ranking | None,
    warnings: tuple[str, ...],
) -> EngineInfo:
    if description.scores is None:
        warnings += (
            "no output is class scores ([n, classes]): the model's tensors are served, predictions are not",
        )
    if spec.fixed_batch is not None:
        warnings += (batch_warning(spec.fixed_batch, freed=False),)
    return EngineInfo(
        engine=engine,
        precision=spec.precision,
        device=f"cuda:{device.index}",
        inputs=(as_served(spec.input),),
        outputs=tuple(as_served(output) for output in spec.outputs),
        image_shape=image.host_shape,
        fixed_batch=spec.fixed_batch,
        max_batch=spec.max_batch,
        ranks=0 if ranking is None else RANKS,
        scores=description.scores,
        scores_are_probabilities=description.scores_are_probabilities,
        warnings=warnings,
    )
