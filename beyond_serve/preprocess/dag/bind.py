"""A graph and one image's size to chains of bound steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from beyond_serve.preprocess.dag.bound import BoundOp, Chain, Cut, Resample, Step
from beyond_serve.preprocess.dag.graph import Graph, Node
from beyond_serve.preprocess.dag.ops import Crop, Decode, Op, Reorder, Resize, UserFunction
from beyond_serve.preprocess.dag.spec import ImageSpec, SourceSpec


@dataclass(frozen=True, slots=True)
class Simplified:
    """A graph without what is never looked at and what is computed twice.

    Attributes:
        unused: names of operations that no output needs.
        same: names of operations that are another one again, with that one's name.
    """

    graph: Graph
    unused: tuple[str, ...]
    same: Mapping[str, str]


def simplified(graph: Graph) -> Simplified:
    """Merges equal operations on equal inputs (not users' functions: equality of code is not known, nor
    outputs) and leaves out what no output needs."""
    same: dict[str, str] = {}
    seen: dict[tuple[Op, tuple[str, ...]], str] = {}
    kept: list[Node] = []
    for node in graph.nodes:
        renamed = replace(node, inputs=tuple(same.get(name, name) for name in node.inputs))
        key = (node.op, renamed.inputs)
        twin = seen.get(key)
        if twin is not None and not isinstance(node.op, UserFunction) and node.name not in graph.outputs:
            same[node.name] = twin
        else:
            seen.setdefault(key, node.name)
            kept.append(renamed)
    needed = set(graph.outputs)
    for node in reversed(kept):
        if node.name in needed:
            needed.update(node.inputs)
    unused = tuple(node.name for node in kept if node.name not in needed)
    nodes = tuple(node for node in kept if node.name in needed)
    return Simplified(Graph(nodes, graph.outputs), unused, same)


def bind(graph: Graph, source: SourceSpec) -> tuple[Chain, ...]:
    """The graph cut into chains at every fork, join and output; each chain after those that feed it.

    Raises:
        ConfigError: as Graph.specs.
    """
    specs = graph.specs(source)
    consumers = graph.consumers()
    chains: dict[str, Chain] = {}
    for node in graph.nodes:
        before = node.inputs[0] if node.inputs else ""
        if not node.inputs or len(node.inputs) > 1:
            assert isinstance(node.op, Decode | UserFunction)
            chains[node.name] = Chain(node.name, node.inputs, node.op, node.name, specs[node.name], ())
            continue
        step = Step(bound(node.op, specs[before]), (node.name,))
        if len(consumers[before]) > 1 or before in graph.outputs:
            chains[node.name] = Chain(node.name, (before,), None, "", specs[before], (step,))
        else:
            # The chain that ended before this operation goes on; dictionaries keep the order of creation,
            # and a chain is created after those that feed it.
            chain = chains.pop(before)
            chains[node.name] = replace(chain, name=node.name, steps=(*chain.steps, step))
    return tuple(chains.values())


def bound(op: Op, spec: ImageSpec) -> BoundOp:
    """One operation for one image."""
    match op:
        case Resize():
            made = op.output(spec)
            return Resample(
                (spec.width, spec.height), (made.width, made.height), (0, 0),
                Cut(0, 0, made.width, made.height), op.interpolation, op.antialias,
            )  # fmt: skip
        case Crop():
            left, top = op.start(spec)
            return Cut(left, top, op.size[1], op.size[0])
        case Reorder():
            return narrowed(op, spec)
        case Decode():
            raise AssertionError("a decode is a chain's head, never a step of it")
        case _:
            return op


def narrowed(op: Reorder, spec: ImageSpec) -> Reorder:
    """What of a reordering is left to do on an image that may have some of it already."""
    return Reorder(
        None if op.layout == spec.layout else op.layout, None if op.colour == spec.colour else op.colour
    )
