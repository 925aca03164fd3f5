"""What the optimiser did to a graph, in words."""

from __future__ import annotations

from beyond_serve.preprocess.dag.bound import Cut, Fused, Resample, Step
from beyond_serve.preprocess.dag.ops import UserFunction
from beyond_serve.preprocess.dag.optimise import ChainPlan, OptimisedGraph, placed
from beyond_serve.preprocess.dag.spec import ImageSpec


def explain(plan: OptimisedGraph) -> list[str]:
    """Lines for people: what was dropped, moved and fused, what was searched, and what it is worth."""
    return [
        *_dropped(plan),
        *_sunk(plan),
        *(line for one in plan.plans for line in _chain(plan, one)),
        *_searched(plan),
        _worth(plan),
        *(_tolerance(name, bound) for name, bound in plan.tolerance.items()),
    ]


def steps_in_words(plan: OptimisedGraph) -> list[str]:
    """The plan itself, one line for each step."""
    lines = []
    for one in plan.plans:
        chain = one.chain
        if chain.origin:
            lines.append(f"{chain.origin}: makes {chain.entry}")
        given = chain.entry
        for step in one.steps:
            made = step.op.output(given)
            lines.append(f"{_kind(step)} ({', '.join(step.origins)}): {given} -> {made}")
            given = made
    return lines


def _dropped(plan: OptimisedGraph) -> list[str]:
    lines = [f"dropped: '{name}', no output needs it" for name in plan.simplified.unused]
    lines += [f"dropped: '{name}', it is '{twin}' again" for name, twin in plan.simplified.same.items()]
    done = placed(plan.plans)
    for node in plan.simplified.graph.nodes:
        if node.name not in done and node.name not in {one.chain.origin for one in plan.plans}:
            lines.append(f"dropped: '{node.name}', it changes nothing here, or is undone later")
    return lines


def _sunk(plan: OptimisedGraph) -> list[str]:
    return [f"moved: {_names(sunk.origins)} into each branch after '{sunk.fork}'" for sunk in plan.sunk]


def _chain(plan: OptimisedGraph, chosen: ChainPlan) -> list[str]:
    lines = []
    specs = plan.simplified.graph.specs(plan.source)
    inputs = {node.name: node.inputs for node in plan.simplified.graph.nodes}
    given = chosen.chain.entry
    for step in chosen.steps:
        first = step.origins[0]
        before = specs[inputs[first][0]]
        match step.op:
            case Resample() as resample:
                lines += _moved_resize(step, resample, before, given)
            case Fused():
                lines.append(f"fused: {_names(step.origins)} are one pass over {_values(given)}")
                if given.elements != before.elements:
                    lines.append(f"moved: that pass reads {_values(given)} instead of {_values(before)}")
            case Cut():
                if len(step.origins) > 1:
                    lines.append(f"fused: {_names(step.origins)} are one crop")
            case _:
                if given.elements != before.elements:
                    lines.append(f"moved: '{first}' reads {_values(given)} instead of {_values(before)}")
        given = step.op.output(given)
    return lines


def _moved_resize(step: Step, resample: Resample, before: ImageSpec, given: ImageSpec) -> list[str]:
    lines = []
    name, crops = step.origins[0], step.origins[1:]
    if crops:
        window, (wide, high) = resample.window, resample.resized
        lines.append(
            f"moved: {_names(crops)} before '{name}', which reads {given.width}x{given.height} pixels "
            f"instead of {before.width}x{before.height} and makes {window.width}x{window.height} "
            f"instead of {wide}x{high}"
        )
    if given.dtype != before.dtype:
        lines.append(f"moved: '{name}' works on {given.dtype} instead of {before.dtype}")
    return lines


def _searched(plan: OptimisedGraph) -> list[str]:
    lines = []
    for one in plan.plans:
        found = one.candidates
        if found.generated > 1:
            cut = "" if found.complete else ", not all there are"
            lines.append(
                f"searched up to '{one.chain.name}': {found.generated} plans{cut}; cut by fewer pixels "
                f"{found.fewer_pixels}, by smaller type {found.smaller_type}, by fusion {found.unfused}; "
                f"cost chose among {len(found.plans)}"
            )
    return lines


def _worth(plan: OptimisedGraph) -> str:
    ratio = f", {plan.before / plan.after:.2f} times as cheap" if plan.after else ""
    return f"cost without decoding: {plan.before:,.0f} {plan.unit} as written, {plan.after:,.0f} now{ratio}"


def _tolerance(name: str, bound: float) -> str:
    if bound == float("inf"):
        return f"'{name}': no bound, a function that declares no gain gets pixels that are not bit-equal"
    return f"'{name}' is {f'within {bound:.3g} of' if bound else 'bit-equal to'} the graph as written"


def _kind(step: Step) -> str:
    match step.op:
        case Resample():
            return "resize"
        case Cut():
            return "crop"
        case Fused():
            return "one pass"
        case UserFunction():
            return "function"
        case _:
            return type(step.op).__name__.lower()


def _values(spec: ImageSpec) -> str:
    return f"{spec.elements:,} {spec.dtype} values"


def _names(names: tuple[str, ...]) -> str:
    quoted = [f"'{name}'" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
