"""What a loaded plan says of itself, and what follows from it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from beyond_serve.engines.cuda.program import NetworkSpec
from beyond_serve.engines.layout import fits
from beyond_serve.engines.onnx_file import GraphFacts
from beyond_serve.engines.protocol import TensorSpec
from beyond_serve.engines.tensorrt.stamp import Stamp
from beyond_serve.errors import ModelLoadError

# Outputs by whose names exporters say that a softmax is done; the plan itself does not tell.
_PROBABILITIES = ("probabilities", "probs", "prob", "softmax")


@dataclass(frozen=True, slots=True)
class Profile:
    """An optimization profile: the input's smallest and largest shapes, batch axis first."""

    index: int
    least: tuple[int, ...]
    most: tuple[int, ...]

    @property
    def batches(self) -> int:
        """How many batch sizes it takes."""
        return self.most[0] - self.least[0] + 1

    def takes(self, row: Sequence[int]) -> bool:
        """A row of this shape lies within it."""
        return len(row) == len(self.least) - 1 and all(
            low <= size <= high for low, size, high in zip(self.least[1:], row, self.most[1:], strict=True)
        )


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """
    Attributes:
        inputs, outputs: as the plan names them, -1 where a size is free.
        profiles: of the only input; empty if there are several inputs.
        stamp: None if somebody else built it.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    profiles: tuple[Profile, ...]
    stamp: Stamp | None


def graph_facts(facts: PlanFacts) -> GraphFacts:
    """As the server sees a model's file: sizes that the widest profile fixes are fixed."""
    if len(facts.inputs) != 1 or not facts.profiles:
        return GraphFacts(facts.inputs, facts.outputs, _probabilities(facts), _precision(facts) == "int8")
    profile = widest(facts.profiles)
    shape = tuple(low if low == high else -1 for low, high in zip(profile.least, profile.most, strict=True))
    inputs = (replace(facts.inputs[0], shape=shape),)
    outputs = tuple(_with_batch(spec, shape[0]) for spec in facts.outputs)
    return GraphFacts(inputs, outputs, _probabilities(facts), _precision(facts) == "int8")


def widest(profiles: Sequence[Profile]) -> Profile:
    """The one with the most batch sizes; then with the largest; then the first."""
    return max(profiles, key=lambda profile: (profile.batches, profile.most[0], -profile.index))


def choose_profile(facts: PlanFacts, row: Sequence[int], max_batch: int) -> Profile:
    """The widest profile that takes rows of this shape.

    Raises:
        ModelLoadError: none does, or none takes a batch as small as `max_batch`.
    """
    able = [profile for profile in facts.profiles if profile.takes(row)]
    if not able:
        ranges = "; ".join(f"{list(p.least[1:])} to {list(p.most[1:])}" for p in facts.profiles)
        raise ModelLoadError(
            f"no profile of the plan takes an image as {list(row)}: {ranges}",
            "mend the size in the file beside the plan, or build it anew: beyond-models build",
        )
    profile = widest(able)
    if 1 < profile.least[0] != profile.most[0] and max_batch < profile.least[0]:
        raise ModelLoadError(
            f"the plan's smallest batch is {profile.least[0]}, the largest asked for {max_batch}",
            f"use --max-batch {profile.least[0]} or more",
        )
    return profile


def network_spec(facts: PlanFacts, profile: Profile, row: Sequence[int]) -> NetworkSpec:
    """
    Args:
        row: the input's shape without the batch axis.

    Raises:
        ModelLoadError: an output has a size that is not known beforehand, or not one row for each image.
    """
    least, most = profile.least[0], profile.most[0]
    fixed = most if least == most else None
    batch = fixed or -1
    outputs = tuple(_with_batch(spec, batch) for spec in facts.outputs)
    for spec in outputs:
        _check_output(spec, batch)
    return NetworkSpec(
        input=replace(facts.inputs[0], shape=(batch, *row)),
        outputs=outputs,
        max_batch=most,
        fixed_batch=fixed,
        precision=_precision(facts),
    )


def check_input(spec: TensorSpec, row: Sequence[int], source: str) -> None:
    """Raises ModelLoadError: the plan takes no rows of this shape."""
    if not fits(row, spec.shape):
        raise ModelLoadError(
            f"the plan '{source}' takes {list(spec.shape)}, and no images as {list(row)}",
            "mend the size in the file beside the plan",
        )


def check_precision(requested: str, facts: PlanFacts) -> None:
    """A plan computes in what it was built for.

    Raises:
        ModelLoadError: another precision is asked for.
    """
    own = _precision(facts)
    if requested in ("auto", own):
        return
    known = "a precision that it does not tell" if own == "mixed" else own
    raise ModelLoadError(
        f"the plan was built for {known}, and does not run in {requested}",
        f"use --precision auto, or build it anew: beyond-models build … --precision {requested}",
    )


def _with_batch(spec: TensorSpec, batch: int) -> TensorSpec:
    # A free axis of a batch that only one profile fixes is fixed as well.
    return replace(spec, shape=(batch, *spec.shape[1:])) if spec.shape[:1] == (-1,) else spec


def _check_output(spec: TensorSpec, batch: int) -> None:
    if not spec.shape or spec.shape[0] != batch:
        raise ModelLoadError(
            f"the output '{spec.name}' is {list(spec.shape)}: it has not one row for each image of a batch",
            "export the model with the batch as first axis of every output",
        )
    if -1 in spec.shape[1:]:
        raise ModelLoadError(
            f"the output '{spec.name}' is {list(spec.shape)}: its size depends on what is in the image",
            "export the model without that output, or with its size fixed (as by a top-k)",
        )


def _precision(facts: PlanFacts) -> str:
    if facts.stamp is not None:
        return facts.stamp.precision
    return "mixed"


def _probabilities(facts: PlanFacts) -> frozenset[str]:
    if facts.stamp is not None:
        return frozenset(facts.stamp.probabilities)
    return frozenset(spec.name for spec in facts.outputs if spec.name.lower() in _PROBABILITIES)
