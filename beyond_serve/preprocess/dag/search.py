"""All orders of a chain, and the rules that cut them (SMOL 6.2)."""

from __future__ import annotations

from dataclasses import dataclass

from beyond_serve.preprocess.dag.bound import Chain, Resample, Steps, walk
from beyond_serve.preprocess.dag.moves import fused, neighbours, tidy
from beyond_serve.preprocess.dag.spec import ImageSpec

MOST_ORDERS = 2_000
"""Orders of one chain that are looked at. Invented; the longest chains in use have a few hundred."""

Profile = tuple[tuple[int, int], ...]
"""For every resize of a chain: the pixels it reads, and the bytes of one of their values; 0 bytes where it
enlarges: the smaller type is cheaper to resize there too, but what comes after has more values to convert, so
SMOL's rule of the smaller type would often cut the cheapest plan. Costs decide there. (The rule can still be
wrong by a little for a resize that about keeps the size; `prune=False` lets costs decide alone.)"""


@dataclass(frozen=True, slots=True)
class Candidates:
    """What was generated for one chain, and what the rules left of it.

    Attributes:
        plans: those left, at least one.
        generated: how many there were; fusing everything or nothing counts as two.
        fewer_pixels, smaller_type, unfused: how many each rule cut.
        complete: whether every order was generated.
    """

    plans: tuple[Steps, ...]
    generated: int
    fewer_pixels: int = 0
    smaller_type: int = 0
    unfused: int = 0
    complete: bool = True


def orders(chain: Chain) -> tuple[list[Steps], bool]:
    """Every order that legal swaps lead to, the written one first; and whether these are all."""
    start = tidy(chain.steps, chain.entry)
    found = {start: None}
    frontier = [start]
    while frontier:
        reached = []
        for steps in frontier:
            for other in neighbours(steps, chain.entry):
                if other not in found:
                    if len(found) == MOST_ORDERS:
                        return list(found), False
                    found[other] = None
                    reached.append(other)
        frontier = reached
    return list(found), True


def candidates(chain: Chain, *, prune: bool = True) -> Candidates:
    """All plans of a chain, cut by the three rules unless told otherwise."""
    plain, complete = orders(chain)
    together = [fused(steps) for steps in plain]
    twins = sum(one != other for one, other in zip(plain, together, strict=True))
    generated = len(plain) + twins
    if not prune:
        everything = dict.fromkeys((*plain, *together))
        return Candidates(tuple(everything), generated, complete=complete)
    profiles = {steps: profile(steps, chain) for steps in together}
    beaten = _beaten(set(profiles.values()))
    left = tuple(steps for steps in profiles if profiles[steps] not in beaten)
    by_pixels = sum(beaten.get(found, "") == "pixels" for found in profiles.values())
    by_type = sum(beaten.get(found, "") == "type" for found in profiles.values())
    return Candidates(left, generated, by_pixels, by_type, generated - len(profiles), complete)


def profile(steps: Steps, chain: Chain) -> Profile:
    """What rules 1 and 2 look at. The resizes of a chain keep their order, so profiles compare by place."""
    return tuple(
        (spec.width * spec.height, 0 if _enlarges(step.op, spec) else spec.bytes_per_element)
        for step, spec in walk(steps, chain.entry)
        if isinstance(step.op, Resample)
    )


def _enlarges(op: Resample, spec: ImageSpec) -> bool:
    return op.output(spec).elements > spec.elements


def _beaten(profiles: set[Profile]) -> dict[Profile, str]:
    """The profiles that another one is nowhere worse than, with the rule by which."""
    found = {}
    for one in profiles:
        for other in profiles:
            if other != one and all(a <= b and c <= d for (a, c), (b, d) in zip(other, one, strict=True)):
                fewer = any(a < b for (a, _), (b, _) in zip(other, one, strict=True))
                found[one] = "pixels" if fewer else "type"
                break
    return found
