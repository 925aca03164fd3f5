"""From a configuration of the search to a server: its axes here, its flags, its `serve.toml`. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from beyond_serve.bench.experiments.search.space import Axis, Config, Space, Value, parse_axis
from beyond_serve.bench.experiments.serving import ModelSource
from beyond_serve.server.cli import parse_command_line
from beyond_serve.server.options import OPTIONS

CONCURRENCY = "concurrency"
DEFAULTS: Mapping[str, Value] = {
    "decode-threads": 0,
    "instances": 1,
    "policy": "fixed",
    "max-batch": 32,
    "max-delay-us": 0,
}
"""What the server does without a flag; 0 threads are one per core."""

_MODEL_OPTIONS = frozenset(option.name for option in OPTIONS if option.scope == "model")
_PLACES = frozenset({"http", "grpc", "token", "tls-key", "log-level", "trace-file"})


def default_axes(cores: int) -> tuple[Axis, ...]:
    """What is searched where nothing else is asked. The concurrency, the client's, needs no restart: last."""
    around = sorted({1, max(1, cores // 2), cores, 2 * cores})
    return (
        Axis("decode-threads", tuple(around)),
        Axis("instances", tuple(sorted({1, 2, max(1, cores // 2), cores}))),
        Axis("policy", ("fixed", "adaptive"), ordered=False),
        Axis("max-batch", (1, 2, 4, 8, 16, 32, 64)),
        Axis("max-delay-us", (0, 500, 2000, 8000)),
        Axis(CONCURRENCY, (4, 8, 16, 32, 64, 128, 256)),
    )


def make_space(cores: int, changes: Sequence[str]) -> Space:
    """The default axes, with those of `changes` ("max-batch=1,8,32") in place of theirs.

    Raises:
        ConfigError: an axis or value that is none.
    """
    axes = default_axes(cores)
    changed = {axis.name: axis for axis in (parse_axis(text, axes) for text in changes)}
    return Space(tuple(changed.get(axis.name, axis) for axis in axes))


def within_reach(space: Space, rate: float, longest_s: float) -> Space:
    """Without the concurrencies at which a request of `rate` requests/s would wait beyond `longest_s`.

    They could not be measured steadily in the time of a measurement. The lowest always stays.
    """
    loads = space.axis(CONCURRENCY).values
    reached = tuple(load for load in loads if int(load) <= rate * longest_s) or loads[:1]
    return Space(tuple(Axis(CONCURRENCY, reached) if a.name == CONCURRENCY else a for a in space.axes))


def starting_points(space: Space, cores: int) -> list[Config]:
    """The server's defaults, at a middle and at the highest concurrency."""
    plain = {**DEFAULTS, "decode-threads": cores}
    loads = space.axis(CONCURRENCY).values
    wanted = (loads[len(loads) // 2], loads[-1])
    return list(dict.fromkeys(space.nearest({**plain, CONCURRENCY: load}) for load in wanted))


def server_settings(named: Mapping[str, Value]) -> dict[str, Value]:
    """Those that the server takes: all but the concurrency."""
    return {name: value for name, value in named.items() if name != CONCURRENCY}


def flags_of(settings: Mapping[str, Value]) -> tuple[str, ...]:
    return tuple(word for name, value in settings.items() for word in (f"--{name}", str(value)))


def described(named: Mapping[str, Value]) -> str:
    """Short enough for a line: "2 threads, 1 instance, batch 16, 500 us, fixed, 64 in flight"."""
    threads, instances = named["decode-threads"], named["instances"]
    words = [
        f"{threads or 'auto'} thread{'' if threads == 1 else 's'}",
        f"{instances} instance{'' if instances == 1 else 's'}",
        f"batch {named['max-batch']}",
        f"{named['max-delay-us']} us",
        str(named["policy"]),
    ]
    if CONCURRENCY in named:
        words.append(f"{named[CONCURRENCY]} in flight")
    return ", ".join(words)


def serve_toml(
    model: ModelSource, settings: Mapping[str, Value], further: Sequence[str], comments: Sequence[str]
) -> str:
    """A file that `beyond-serve --config` takes.

    Args:
        further: flags of beyond-serve that held for every measurement; the settings win over them, and what
            names an address or a secret is left out.
    """
    given = {**parse_command_line(list(further)).options, **settings}
    given = {name: value for name, value in given.items() if name not in _PLACES}
    lines = [f"# {line}" for line in comments]
    lines += [f"{name} = {_toml(value)}" for name, value in given.items() if name not in _MODEL_OPTIONS]
    lines += ["", f"[models.{json.dumps(model.name)}]", f"path = {_toml(_from_anywhere(model.source))}"]
    lines += [f"{name} = {_toml(value)}" for name, value in given.items() if name in _MODEL_OPTIONS]
    return "\n".join(lines) + "\n"


def _from_anywhere(source: str) -> str:
    """A path in the file is relative to the file, which lies elsewhere than where the model was named."""
    if source == "demo" or source.startswith("null:"):
        return source
    if source.startswith("sim:"):
        return f"sim:{Path(source.removeprefix('sim:')).absolute()}"
    return str(Path(source).absolute())


def _toml(value: object) -> str:
    # JSON's strings, numbers and booleans are TOML's.
    return json.dumps(value)
