"""Successive halving with best-first steps: finds a good configuration in few noisy measurements. Pure.

Jamieson and Talwalkar (AISTATS 2016): many configurations are measured shortly, the best third of them
three times as long, and so on. The sample that it starts with rarely holds the optimum, so each round also
measures neighbours, one step on one axis away, of the best configurations that it knows.

A configuration is judged by all that was measured of it, each score weighted by its budget.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from beyond_serve.bench.experiments.search.space import Config, Space

Evaluate = Callable[[Config, float], float]
"""Measure a configuration with a budget (seconds): its score, of which more is better."""

GRID_SHARE = 0.25
"""The most that a search may cost, as a share of measuring every configuration with the full budget."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        first: configurations drawn for the first round; as many again may be neighbours of the best.
        full: the budget of a measurement in the last round.
        factor: by which configurations get fewer and budgets larger from round to round.
        rounds: at least 1.
    """

    first: int
    full: float
    factor: int = 3
    rounds: int = 3

    def budget(self, number: int) -> float:
        """Of one measurement in round `number`, the first of which is 0."""
        return self.full / float(self.factor ** (self.rounds - 1 - number))

    def survivors(self, number: int) -> int:
        """How many enter round `number`."""
        return max(1, self.first // int(self.factor**number))

    @property
    def cost(self) -> float:
        """The most that all rounds can cost, in the budget's unit."""
        return sum(2 * self.survivors(number) * self.budget(number) for number in range(self.rounds))

    def within(self, size: int) -> Plan:
        """This plan, with a smaller first round where it would cost more than `GRID_SHARE` of the grid."""
        plan = self
        while plan.first > 1 and plan.cost > GRID_SHARE * size * plan.full:
            plan = Plan(plan.first - 1, plan.full, plan.factor, plan.rounds)
        return plan


@dataclass(frozen=True, slots=True)
class Trial:
    """One measurement. `parent` is the configuration whose neighbour this is, None for the drawn ones."""

    config: Config
    budget: float
    score: float
    parent: Config | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """What one round measured and decided.

    Attributes:
        trials: in the order they were measured.
        ranked: every configuration of the round with its estimate, best first.
        kept: that go on; in the last round the best alone.
    """

    number: int
    budget: float
    trials: tuple[Trial, ...]
    ranked: tuple[tuple[Config, float], ...]
    kept: tuple[Config, ...]


@dataclass(slots=True)
class _Knowledge:
    """Every score so far, by configuration."""

    trials: dict[Config, list[Trial]] = field(default_factory=dict)

    def add(self, trial: Trial) -> None:
        self.trials.setdefault(trial.config, []).append(trial)

    def estimate(self, config: Config) -> float:
        trials = self.trials[config]
        return sum(trial.score * trial.budget for trial in trials) / sum(trial.budget for trial in trials)


def search(
    space: Space, evaluate: Evaluate, plan: Plan, seed: int = 0, starts: Sequence[Config] = ()
) -> Iterator[Round]:
    """Yield each round as it ends; the last one's `kept` is what was found.

    Args:
        plan: as `Plan.within` bounds it, if the cost matters.
        starts: configurations that are certainly in the first round.
    """
    rng = random.Random(seed)
    known = _Knowledge()
    drawn = list(dict.fromkeys([*starts, *space.sample(plan.first, rng)]))[: max(plan.first, len(starts))]
    entering: Sequence[Config] = drawn
    for number in range(plan.rounds):
        budget, trials = plan.budget(number), list[Trial]()

        def measure(configs: Sequence[Config], parent: Config | None = None) -> None:
            # Called within this turn of the loop only.
            for config in sorted(configs, key=space.order):
                trial = Trial(config, budget, evaluate(config, budget), parent)  # noqa: B023
                known.add(trial)
                trials.append(trial)  # noqa: B023

        measure(entering)
        _step(space, known, measure, set(entering), plan.survivors(number))
        configs = dict.fromkeys(trial.config for trial in trials)
        ranked = sorted(((c, known.estimate(c)) for c in configs), key=lambda pair: -pair[1])
        last = number == plan.rounds - 1
        kept = tuple(config for config, _ in ranked[: 1 if last else plan.survivors(number + 1)])
        yield Round(number, budget, tuple(trials), tuple(ranked), kept)
        entering = kept


def _step(
    space: Space,
    known: _Knowledge,
    measure: Callable[[Sequence[Config], Config | None], None],
    members: set[Config],
    most: int,
) -> None:
    """Measure up to `most` untried neighbours, of the best member first; what was measured is a member."""
    expanded: set[Config] = set()
    while most > 0 and (rest := members - expanded):
        leader = max(rest, key=lambda config: (known.estimate(config), space.order(config)))
        expanded.add(leader)
        untried = [near for near in space.neighbours(leader) if near not in known.trials][:most]
        measure(untried, leader)
        members.update(untried)
        most -= len(untried)


def settle(finalists: Sequence[tuple[Config, float, float]], within: float = 0.02) -> Config:
    """Of (configuration, estimate, tail latency): the lowest tail among those `within` of the best estimate.

    Two settings of the same throughput differ by noise, and by how long their requests wait.
    """
    best = max(estimate for _, estimate, _ in finalists)
    good = [entry for entry in finalists if entry[1] >= (1 - within) * best]
    return min(good, key=lambda entry: (entry[2], -entry[1]))[0]
