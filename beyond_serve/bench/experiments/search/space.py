"""What a search may choose between: axes of values, and the configurations that they span. Pure."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from beyond_serve.errors import ConfigError

Value = int | str
Config = tuple[Value, ...]
"""One value per axis, in the axes' order."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One setting. `ordered` values ascend, and only the next ones are near; of others each is."""

    name: str
    values: tuple[Value, ...]
    ordered: bool = True

    def near(self, value: Value) -> tuple[Value, ...]:
        """The values one step from `value`."""
        place = self.values.index(value)
        if not self.ordered:
            return self.values[:place] + self.values[place + 1 :]
        return self.values[max(0, place - 1) : place] + self.values[place + 1 : place + 2]


@dataclass(frozen=True, slots=True)
class Space:
    """All configurations: the product of the axes.

    What is costly to change stands first and what is cheap last: configurations are measured in their
    order, so that neighbours in time differ at the end.

    Raises:
        ConfigError: an axis without values, or with one twice.
    """

    axes: tuple[Axis, ...]

    def __post_init__(self) -> None:
        for axis in self.axes:
            if not axis.values or len(set(axis.values)) < len(axis.values):
                raise ConfigError(f"the values of '{axis.name}' must be some, each once", "mend --space")

    @property
    def size(self) -> int:
        return math.prod(len(axis.values) for axis in self.axes)

    def axis(self, name: str) -> Axis:
        return next(axis for axis in self.axes if axis.name == name)

    def named(self, config: Config) -> dict[str, Value]:
        return {axis.name: value for axis, value in zip(self.axes, config, strict=True)}

    def order(self, config: Config) -> tuple[int, ...]:
        """Sorts configurations so that the last axis changes most often."""
        return tuple(axis.values.index(value) for axis, value in zip(self.axes, config, strict=True))

    def nearest(self, wanted: Mapping[str, Value]) -> Config:
        """The configuration with `wanted`'s values, or on each axis the closest that it has."""
        return tuple(_closest(axis, wanted.get(axis.name)) for axis in self.axes)

    def neighbours(self, config: Config) -> list[Config]:
        """Those that differ on one axis by one step."""
        return [
            (*config[:place], value, *config[place + 1 :])
            for place, axis in enumerate(self.axes)
            for value in axis.near(config[place])
        ]

    def sample(self, count: int, rng: random.Random) -> list[Config]:
        """`count` different ones (all, if there are not so many) that use every value about equally often."""
        if count >= self.size:
            return self._all()
        found: dict[Config, None] = {}
        while len(found) < count:
            columns = [_balanced(axis.values, count, rng) for axis in self.axes]
            found |= dict.fromkeys(zip(*columns, strict=True))
        return list(found)[:count]

    def _all(self) -> list[Config]:
        configs: list[Config] = [()]
        for axis in self.axes:
            configs = [(*config, value) for config in configs for value in axis.values]
        return configs


def _balanced(values: Sequence[Value], count: int, rng: random.Random) -> list[Value]:
    column = [values[index % len(values)] for index in range(count)]
    rng.shuffle(column)
    return column


def _closest(axis: Axis, wanted: Value | None) -> Value:
    numbers = [value for value in axis.values if isinstance(value, int)]
    if wanted in axis.values or not isinstance(wanted, int) or len(numbers) < len(axis.values):
        return wanted if wanted is not None and wanted in axis.values else axis.values[0]
    return min(numbers, key=lambda value: abs(value - wanted))


def parse_axis(text: str, known: Sequence[Axis]) -> Axis:
    """One of `known` with other values: "max-batch=1,8,32".

    Raises:
        ConfigError: no such axis, no such policy, or no number of 0 or more.
    """
    name, _, listed = text.partition("=")
    axis = next((axis for axis in known if axis.name == name), None)
    if axis is None:
        names = ", ".join(axis.name for axis in known)
        raise ConfigError(f"the search has no axis '{name}'", f"give one of {names}, as in max-batch=1,8,32")
    words = [word.strip() for word in listed.split(",")]
    if not axis.ordered:
        return Axis(name, tuple(words), ordered=False)
    if not all(word.isdigit() for word in words):
        raise ConfigError(f"'{listed}' are no values of {name}", f"give numbers, as in {name}=1,8,32")
    return Axis(name, tuple(sorted({int(word) for word in words})))
