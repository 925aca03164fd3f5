"""`beyond-bench search` from its arguments to a `serve.toml`."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.experiments.search.halving import Plan, Round, search, settle
from beyond_serve.bench.experiments.search.measure import Goal, Workshop, tails_ms, whole_machine
from beyond_serve.bench.experiments.search.settings import (
    CONCURRENCY,
    DEFAULTS,
    described,
    make_space,
    serve_toml,
    server_settings,
    starting_points,
    within_reach,
)
from beyond_serve.bench.experiments.search.space import Config, Space, Value
from beyond_serve.bench.experiments.serving_arguments import (
    add_serving_arguments,
    asked_flags,
    asked_images,
    asked_models,
)
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.bench.runs.tables import number
from beyond_serve.errors import ConfigError

FIRST, SECONDS = 18, 9.0
QUICK = Plan(first=6, full=1.0, rounds=2)
CONFIRMATIONS, QUICK_CONFIRMATIONS = 3, 2
SERVE_TOML = "serve.toml"
_PROBE_S = 1.0
_SHOWN = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_serving_arguments(parser, sizes="medium")
    parser.add_argument(
        "--slo", type=float, metavar="MS", help="search the highest goodput: requests answered within MS"
    )
    parser.add_argument(
        "--space",
        action="append",
        default=[],
        metavar="AXIS=V,V,…",
        help="other values for an axis: decode-threads, instances, policy, max-batch, max-delay-us, "
        "concurrency; repeatable",
    )
    parser.add_argument(
        "--first",
        type=int,
        metavar="N",
        help=f"configurations drawn for the first round (default: {FIRST}; --quick {QUICK.first})",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help="of a measurement in the last round; each round before it takes a third "
        f"(default: {SECONDS:g}; --quick {QUICK.full:g})",
    )


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    Attributes:
        settings: with the concurrency at which they were best.
        estimate: what was measured of them, in the goal's unit.
        gain: their factor over the defaults in turns with them; None before that is known.
    """

    settings: Mapping[str, Value]
    estimate: float
    gain: float | None = None


def run(given: argparse.Namespace, run: RunFolder, reporter: Reporter) -> None:
    plan, goal = asked_plan(given), asked_goal(given)
    models, images = asked_models(given), asked_images(given)
    if len(models) > 1 or len(images) > 1:
        raise ConfigError("a search tunes one model with one image", "name one; search the others apart")
    cores, said = whole_machine()
    reporter.note(said)
    space = make_space(len(cores.server), given.space)
    flags = asked_flags(given)
    with Workshop(models[0], images[0], space, goal, cores, flags, run, reporter, given.seed) as workshop:
        times = QUICK_CONFIRMATIONS if given.quick else CONFIRMATIONS
        found = confirmed_or_defaults(workshop, find(workshop, plan), plan.full, times)
        run.add_point({"labels": {"phase": "kept"}, "settings": found.settings, "gain": found.gain})
        comments = _comments(run, workshop, found)
        text = serve_toml(models[0], server_settings(found.settings), flags, comments)
    path = run.write(SERVE_TOML, text.encode())
    reporter.note(f"written: beyond-serve --config {path}")


def asked_plan(given: argparse.Namespace) -> Plan:
    """Raises:
    ConfigError: a number that is none.
    """
    usual = QUICK if given.quick else Plan(FIRST, SECONDS)
    first = usual.first if given.first is None else given.first
    seconds = usual.full if given.seconds is None else given.seconds
    if first < 1 or not 0.1 <= seconds <= 3600:
        raise ConfigError(
            f"--first {first} and --seconds {seconds:g} are no search", "1 or more; 0.1 to 3600 s"
        )
    return Plan(first, seconds, usual.factor, usual.rounds)


def asked_goal(given: argparse.Namespace) -> Goal:
    """Raises:
    ConfigError: an SLO of nothing.
    """
    if given.slo is not None and not 0 < given.slo < float("inf"):
        raise ConfigError(f"--slo is {given.slo:g}", "give milliseconds above 0")
    return Goal(given.slo)


def find(workshop: Workshop, plan: Plan) -> Found:
    """Probe, then search with what the probe says can be measured; each round told and kept."""
    cores = len(workshop.cores.server)
    start = starting_points(workshop.space, cores)[0]
    probe = workshop.measure(start, min(_PROBE_S, plan.full), {"phase": "probe"})
    reach_s = plan.budget(0)
    rate = probe["load"]["throughput_per_s"]
    if rate <= 0:
        raise ConfigError("the server answered nothing at its defaults", "look at the point's errors")
    space = workshop.space = within_reach(workshop.space, rate, reach_s)
    plan = plan.within(space.size)
    grid_s = space.size * plan.full
    workshop.reporter.note(
        f"{space.size} configurations, {number(grid_s)} s for all of them; the search takes at most "
        f"{number(plan.cost)} s of load in {plan.rounds} rounds ({number(100 * plan.cost / grid_s)} %), "
        "without warm-ups and starts"
    )

    def evaluate(config: Config, budget: float) -> float:
        labels = {
            "phase": "search",
            "round": 1 + sum(p["labels"].get("phase") == "round" for p in workshop.run.points),
        }
        return float(workshop.measure(config, budget, labels)["score"])

    rounds = list(told(search(space, evaluate, plan, workshop.seed, starting_points(space, cores)), workshop))
    chosen = _settled(rounds[-1], workshop, space)
    found = Found(space.named(chosen), dict(rounds[-1].ranked)[chosen])
    _keep(found, rounds, workshop, grid_s)
    return found


def _keep(found: Found, rounds: Sequence[Round], workshop: Workshop, grid_s: float) -> None:
    goal = workshop.goal.name
    workshop.run.add_point(
        {
            "labels": {"phase": "found", **found.settings},
            "settings": dict(found.settings),
            "estimate": found.estimate,
            "goal": goal,
            "grid_s": grid_s,
            "load_s": sum(trial.budget for one in rounds for trial in one.trials),
            "measurements": sum(len(one.trials) for one in rounds),
            "starts": workshop.starts,
        }
    )
    workshop.reporter.say(f"found: {described(found.settings)}, {number(found.estimate)} {goal}")


def told(rounds: Iterable[Round], workshop: Workshop) -> Iterable[Round]:
    """Each round said and kept as a point when it ends."""
    for one in rounds:
        say = workshop.reporter.say
        say(
            f"round {one.number + 1}: {number(one.budget)} s each, {len(one.trials)} measured, "
            f"{len(one.kept)} kept"
        )
        for config, estimate in one.ranked[:_SHOWN]:
            say(f"  {number(estimate):>8}  {described(workshop.space.named(config))}")
        workshop.run.add_point(
            {
                "labels": {"phase": "round", "round": one.number + 1},
                "budget_s": one.budget,
                "trials": len(one.trials),
                "stepped": sum(trial.parent is not None for trial in one.trials),
                "ranked": [[workshop.space.named(config), estimate] for config, estimate in one.ranked],
                "kept": [workshop.space.named(config) for config in one.kept],
                "spent_s": workshop.spent_s,
            }
        )
        yield one


def _settled(last: Round, workshop: Workshop, space: Space) -> Config:
    """The lowest tail among the best: with an SLO the score has asked for it already."""
    if workshop.goal.slo_ms is not None:
        return last.kept[0]
    points = []
    for config, _ in last.ranked:
        named = space.named(config)
        points.append(next(p for p in reversed(workshop.run.points) if p.get("settings") == named))
    finalists = zip(last.ranked, tails_ms(points), strict=True)
    return settle([(config, estimate, tail) for (config, estimate), tail in finalists])


def confirmed_or_defaults(workshop: Workshop, found: Found, seconds: float, times: int) -> Found:
    """The findings if they are better than the server's defaults in turns with them; else the defaults.

    What was found in many tries is flattered by the luckiest, on a busy machine by much. Both are measured at
    the concurrency that was found.
    """
    space, load = workshop.space, found.settings[CONCURRENCY]
    plain = {**DEFAULTS, "decode-threads": len(workshop.cores.server), CONCURRENCY: load}
    choices = {"defaults": space.nearest(plain), "found": space.nearest(found.settings)}
    note = workshop.reporter.note
    if space.named(choices["defaults"]) != plain:
        note(f"compared with {described(space.named(choices['defaults']))}: the space has no nearer defaults")
    if choices["defaults"] == choices["found"]:
        note("nothing better than the server's defaults was found")
        return found
    scores: dict[str, list[float]] = {which: [] for which in choices}
    for turn in range(times):
        for which, config in choices.items():
            labels = {"phase": "confirm", "round": turn + 1, "which": which}
            point = workshop.measure(config, seconds, labels)
            # What did not start now has been measured before: that says nothing of the settings.
            scores[which] += [float(point["score"])] if "load" in point else []
    medians = {which: statistics.median(values) if values else 0.0 for which, values in scores.items()}
    if medians["found"] <= medians["defaults"]:
        note("the server's defaults were as good or better in turns with what was found: they are kept")
        return Found(space.named(choices["defaults"]), medians["defaults"])
    gain = medians["found"] / medians["defaults"] if medians["defaults"] else None
    return Found(found.settings, medians["found"], gain)


def _comments(run: RunFolder, workshop: Workshop, found: Found) -> Sequence[str]:
    machine = run.meta.machine
    beside = "" if found.gain is None else f", {found.gain:.2f} times the defaults in turns with it"
    return [
        f"Found by beyond-bench search on {machine.get('cpu')}, {machine.get('cores')} cores.",
        f"{number(found.estimate)} {workshop.goal.name} with {found.settings[CONCURRENCY]} requests in "
        f"flight ({workshop.image.name} images){beside}.",
    ]


def confirmed(points: Sequence[Mapping[str, Any]], which: str) -> list[float]:
    """The scores of one side of the comparison."""
    return [
        float(point["score"])
        for point in points
        if point["labels"].get("phase") == "confirm"
        and point["labels"].get("which") == which
        and "load" in point
    ]
