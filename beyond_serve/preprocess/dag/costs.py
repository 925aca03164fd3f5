"""What a step costs: by measured times of this machine, or by counting arithmetic operations as SMOL did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import NamedTuple, Protocol

import orjson

from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.dag.bound import BoundOp, Cut, Fused, Resample, Step, walk
from beyond_serve.preprocess.dag.ops import Convert, Normalize, Reorder, UserFunction
from beyond_serve.preprocess.dag.spec import ImageSpec
from beyond_serve.preprocess.native_plan import vertical_first
from beyond_serve.preprocess.plan import Interpolation

TYPE_WEIGHT = {"uint8": 1.0, "float32": 4.0}
"""What one arithmetic operation counts: a vector register holds four times as many bytes as floats."""

_POINTS = {Interpolation.NEAREST: 1, Interpolation.BILINEAR: 4, Interpolation.BICUBIC: 16}


class Work(NamedTuple):
    """What a step does. kind: the primitive; elements: values read or written, the larger; products:
    multiply-adds of a filter."""

    kind: str
    elements: int
    products: int


class CostModel(Protocol):
    """Costs add up over steps; only plans of one model compare."""

    @property
    def unit(self) -> str: ...

    def cost(self, op: BoundOp, given: ImageSpec) -> float:
        """Of one step on an image of `given`."""
        ...


def work(op: BoundOp, given: ImageSpec) -> Work:  # noqa: PLR0911 - one for each kind
    """Pure; what both models count."""
    made = op.output(given)
    match op:
        case Cut():
            return Work("crop", 0, 0)
        case Resample():
            return _resize_work(op, given, made)
        case Convert():
            return Work("convert", given.elements, 0)
        case Normalize():
            return Work(f"normalize {given.layout}", given.elements, 0)
        case Reorder():
            return Work(f"reorder {given.dtype} {given.layout}-{made.layout}", given.elements, 0)
        case Fused():
            form = "scaled" if op.scales_only else "fused"
            return Work(f"{form} {given.dtype} {given.layout}-{made.layout}", given.elements, 0)
        case UserFunction():
            return Work(f"function {op.name}", max(given.elements, made.elements), 0)


def _resize_work(op: Resample, given: ImageSpec, made: ImageSpec) -> Work:
    planes = given.layout == "CHW" or given.dtype != "uint8" or given.channels != 3
    form = f"{given.dtype} {given.layout}{' planes' if planes else ''}"
    if op.interpolation is Interpolation.NEAREST:
        return Work(f"pick {form}", made.elements, 0)
    if not op.antialias:
        return Work(
            f"sample {form}", max(given.elements, made.elements), made.elements * _POINTS[op.interpolation]
        )
    if vertical_first(*op.full, *op.resized):
        first, second = given.width * made.height * op.taps(1), made.width * made.height * op.taps(0)
    else:
        first, second = made.width * given.height * op.taps(0), made.width * made.height * op.taps(1)
    return Work(
        f"resize {form}", max(given.elements, made.elements), round((first + second) * given.channels)
    )


@dataclass(frozen=True, slots=True)
class OperationCount:
    """SMOL's: arithmetic operations, by the type that they are done in. A move of a value counts as one, a
    view as none, a user's function as one for each value (nothing is known of it)."""

    unit: str = "operations"

    def cost(self, op: BoundOp, given: ImageSpec) -> float:
        done = work(op, given)
        match op:
            case Resample():
                return TYPE_WEIGHT[given.dtype] * max(2 * done.products, done.elements)
            case Cut():
                return 0.0
            case Reorder() | UserFunction():
                return TYPE_WEIGHT[given.dtype] * done.elements
            case Convert():
                return TYPE_WEIGHT["float32"] * done.elements
            case Normalize():
                return TYPE_WEIGHT["float32"] * 2 * done.elements
            case Fused():
                # One pass: whatever was fused is one product, and one sum where something is taken off.
                return TYPE_WEIGHT["float32"] * (1 if op.scales_only else 2) * done.elements


class Rate(NamedTuple):
    """Nanoseconds: for the call, for each value, for each multiply-add."""

    call: float
    element: float
    product: float


@dataclass(frozen=True, slots=True)
class MeasuredCosts:
    """Times of the primitives on one machine; see calibrate.py.

    Attributes:
        rates: by the kind of `Work`.
        machine, seed, repeats: what they were measured on, and how.
    """

    rates: Mapping[str, Rate]
    machine: str = ""
    seed: int = 0
    repeats: int = 0
    unit: str = field(default="ns")

    def cost(self, op: BoundOp, given: ImageSpec) -> float:
        """Nanoseconds.

        Raises:
            ConfigError: a primitive, or a user's function, that was not measured.
        """
        done = work(op, given)
        rate = self.rates.get(done.kind)
        if rate is None:
            raise ConfigError(
                f"there is no measured cost for '{done.kind}'", "calibrate, with the graph's own functions"
            )
        return rate.call + rate.element * done.elements + rate.product * done.products

    def to_json(self) -> bytes:
        content = {**asdict(self), "rates": {kind: rate._asdict() for kind, rate in self.rates.items()}}
        return orjson.dumps(content, option=orjson.OPT_INDENT_2)

    @classmethod
    def from_json(cls, content: bytes) -> MeasuredCosts:
        """Raises ConfigError for what `to_json` did not write."""
        try:
            fields = orjson.loads(content)
            fields["rates"] = {
                kind: Rate(**{name: float(value) for name, value in rate.items()})
                for kind, rate in fields["rates"].items()
            }
            return cls(**fields)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(f"the measured costs cannot be read: {error}", "calibrate again") from error


def total(model: CostModel, steps: Sequence[Step], entry: ImageSpec) -> float:
    """Of a chain's steps, without its head: decoding is the same for every plan."""
    return sum(model.cost(step.op, given) for step, given in walk(steps, entry))
