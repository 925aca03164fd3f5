"""The cheapest plan of a graph for one image's size: generated, pruned, chosen by cost (SMOL, 6.2)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from beyond_serve.preprocess.dag.bind import Simplified, bind, simplified
from beyond_serve.preprocess.dag.bound import Chain, Fused, Step, Steps, last_spec, walk
from beyond_serve.preprocess.dag.costs import CostModel, total
from beyond_serve.preprocess.dag.graph import Graph
from beyond_serve.preprocess.dag.ops import Convert, Normalize, Reorder, UserFunction
from beyond_serve.preprocess.dag.search import Candidates, candidates, orders
from beyond_serve.preprocess.dag.spec import ImageSpec, SourceSpec, SpecPattern
from beyond_serve.preprocess.dag.tolerance import Placed, tolerances


@dataclass(frozen=True, slots=True)
class ChainPlan:
    """A chain with its chosen steps. cost: of these, without the head."""

    chain: Chain
    steps: Steps
    candidates: Candidates
    cost: float


@dataclass(frozen=True, slots=True)
class Sunk:
    """Operations written before the fork `fork` that run in each of its branches instead."""

    origins: tuple[str, ...]
    fork: str


@dataclass(frozen=True, slots=True)
class OptimisedGraph:
    """What is run instead of the graph as written.

    Attributes:
        written: the graph as given; `simplified` the graph that was optimised.
        plans: every chain after those that feed it.
        before, after: costs in `unit`, without decoding, which is the same for both.
        tolerance: by output, the largest difference of a value from the naive result; see tolerance.py.
    """

    written: Graph
    simplified: Simplified
    source: SourceSpec
    plans: tuple[ChainPlan, ...]
    sunk: tuple[Sunk, ...]
    before: float
    after: float
    unit: str
    tolerance: Mapping[str, float]


def optimise(graph: Graph, source: SourceSpec, costs: CostModel, *, prune: bool = True) -> OptimisedGraph:
    """Choose the cheapest plan. Pure; milliseconds.

    prune: cut by SMOL's rules before costs choose. Without, costs alone decide.

    Raises:
        ConfigError: the graph cannot be applied to the source, or `costs` does not know one of its steps.
    """
    before = _written_cost(graph, source, costs)
    simple = simplified(graph)
    chains = {chain.name: chain for chain in bind(simple.graph, source)}
    plans: dict[str, ChainPlan] = {}
    sunk: list[Sunk] = []
    for name in list(chains):
        branches = _branches(name, chains, simple.graph)
        if branches:
            moved = _sink(chains, name, branches, costs, prune)
            if moved:
                sunk.append(Sunk(moved, name))
        plans[name] = _best(chains[name], costs, prune)
    heads = sum(_head_cost(chain, chains, costs) for chain in chains.values())
    return OptimisedGraph(
        graph, simple, source, tuple(plans.values()), tuple(sunk), before,
        sum(plan.cost for plan in plans.values()) + heads, costs.unit,
        tolerances(simple.graph, source, placed(tuple(plans.values()))),
    )  # fmt: skip


def placed(plans: Sequence[ChainPlan]) -> Placed:
    """By operation, the steps that do its work."""
    found: dict[str, list[tuple[Step, ImageSpec]]] = defaultdict(list)
    for plan in plans:
        for step, given in walk(plan.steps, plan.chain.entry):
            for name in step.origins:
                found[name].append((step, given))
    return found


def _written_cost(graph: Graph, source: SourceSpec, costs: CostModel) -> float:
    chains = {chain.name: chain for chain in bind(graph, source)}
    return sum(
        total(costs, chain.steps, chain.entry) + _head_cost(chain, chains, costs) for chain in chains.values()
    )


def _head_cost(chain: Chain, chains: Mapping[str, Chain], costs: CostModel) -> float:
    """Of a function that joins chains: the same in every plan. A decode is not counted."""
    if not isinstance(chain.head, UserFunction):
        return 0.0
    first = chains[chain.inputs[0]]
    given = last_spec(first.steps, first.entry)
    # Costs are of a step on one image; what the function declares of the others adds nothing to it.
    one_image = replace(chain.head, takes=chain.head.takes[:1], gives=SpecPattern())
    return costs.cost(one_image, given)


def _best(chain: Chain, costs: CostModel, prune: bool) -> ChainPlan:
    found = candidates(chain, prune=prune)
    prices = [total(costs, steps, chain.entry) for steps in found.plans]
    # Of equal ones the shortest: a pass over values costs the same whatever was fused into it.
    cheapest = min(range(len(prices)), key=lambda index: (prices[index], _length(found.plans[index])))
    return ChainPlan(chain, found.plans[cheapest], found, prices[cheapest])


def _branches(name: str, chains: Mapping[str, Chain], graph: Graph) -> list[Chain]:
    """The chains that go on from a fork; none where its image is an output's or a join's own."""
    fed = [chain for chain in chains.values() if name in chain.inputs]
    if name in graph.outputs or len(fed) < 2 or any(chain.head is not None for chain in fed):
        return []
    return fed


def _sink(
    chains: dict[str, Chain], name: str, branches: Sequence[Chain], costs: CostModel, prune: bool
) -> tuple[str, ...]:
    """Move the operations that may as well run in each branch there, where that is cheaper: a resize in a
    branch leaves them fewer values. Changes `chains`; returns the names of what was moved."""
    chain = chains[name]
    order = max(orders(chain)[0], key=_trailing)
    options = []
    for count in range(_trailing(order) + 1):
        head, tail = order[: len(order) - count], order[len(order) - count :]
        kept = replace(chain, steps=head) if count else chain
        entry = last_spec(kept.steps, kept.entry)
        grown = [replace(branch, entry=entry, steps=(*tail, *branch.steps)) for branch in branches]
        price = sum(_best(one, costs, prune).cost for one in (kept, *grown))
        options.append((price, count, [kept, *grown]))
    _, count, chosen = min(options, key=lambda option: option[:2])
    chains.update({one.name: one for one in chosen})
    return tuple(origin for step in order[len(order) - count :] for origin in step.origins)


def _length(steps: Steps) -> int:
    return sum(len(step.op.ops) if isinstance(step.op, Fused) else 1 for step in steps)


def _trailing(steps: Steps) -> int:
    """How many of the last steps change values and places, and no sizes."""
    count = 0
    for step in reversed(steps):
        if not isinstance(step.op, Convert | Normalize | Reorder):
            break
        count += 1
    return count
