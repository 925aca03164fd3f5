"""Operations and who feeds whom: a directed acyclic graph, checked against a source before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.dag.ops import Decode, Op, UserFunction
from beyond_serve.preprocess.dag.spec import ImageSpec, SourceSpec


@dataclass(frozen=True, slots=True)
class Node:
    """An operation with a name, fed by the nodes named in `inputs`; Decode is fed by the bytes."""

    name: str
    op: Op
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Graph:
    """nodes: every one after its inputs. outputs: names of the nodes whose images are wanted.

    Raises:
        ConfigError: names that are twice or nowhere, inputs that come later, a wrong number of inputs.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        known: set[str] = set()
        for node in self.nodes:
            if node.name in known:
                raise ConfigError(f"two operations are named '{node.name}'")
            for name in node.inputs:
                if name not in known:
                    raise ConfigError(f"'{node.name}' is fed by '{name}', which is not before it")
            _check_inputs(node)
            known.add(node.name)
        for name in self.outputs:
            if name not in known:
                raise ConfigError(f"the output '{name}' is no operation of the graph")
        if not self.outputs or len(set(self.outputs)) != len(self.outputs):
            raise ConfigError("a graph has at least one output, and none of them twice")

    @classmethod
    def chain(cls, ops: Sequence[Op]) -> Graph:
        """A list of operations, one after the other; the output is named "output".

        Raises ConfigError as the class does; also where the list is empty.
        """
        if not ops:
            raise ConfigError("the list of operations is empty")
        names = [f"{number} {label(op)}" for number, op in enumerate(ops)]
        names[-1] = "output"
        nodes = [Node(names[0], ops[0])]
        nodes += [Node(names[i], ops[i], (names[i - 1],)) for i in range(1, len(ops))]
        return cls(tuple(nodes), ("output",))

    def specs(self, source: SourceSpec) -> dict[str, ImageSpec]:
        """What comes out of every node, for one image.

        Raises:
            ConfigError: an operation cannot be applied to what reaches it; names both.
        """
        found: dict[str, ImageSpec] = {}
        for node in self.nodes:
            try:
                found[node.name] = _output(node, source, found)
            except ConfigError as error:
                raise ConfigError(f"operation '{node.name}': {error.message}", error.hint) from None
        return found

    def consumers(self) -> dict[str, list[Node]]:
        """Who is fed by each node, in the graph's order."""
        found: dict[str, list[Node]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in node.inputs:
                found[name].append(node)
        return found


def label(op: Op) -> str:
    """An operation's kind in lower case; a user's function's own name."""
    return op.name if isinstance(op, UserFunction) else type(op).__name__.lower()


def _check_inputs(node: Node) -> None:
    wanted = 0 if isinstance(node.op, Decode) else len(getattr(node.op, "takes", (None,)))
    if len(node.inputs) != wanted:
        hint = "a graph begins with Decode" if not node.inputs else None
        raise ConfigError(
            f"'{node.name}' has {len(node.inputs)} inputs, {label(node.op)} takes {wanted}", hint
        )


def _output(node: Node, source: SourceSpec, found: Mapping[str, ImageSpec]) -> ImageSpec:
    if isinstance(node.op, Decode):
        return node.op.output(source)
    if isinstance(node.op, UserFunction):
        return node.op.output(*(found[name] for name in node.inputs))
    return node.op.output(found[node.inputs[0]])
