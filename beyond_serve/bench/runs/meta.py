"""`run.json`: what was run, on what, and how it ended."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import orjson

from beyond_serve.bench.machine import machine
from beyond_serve.bench.own_version import own_version
from beyond_serve.errors import ConfigError

SCHEMA = 1
"""Raised when a reader of the older shape would misread the newer one."""

Status = Literal["running", "complete", "interrupted", "failed"]
_SECRET = frozenset({"token"})
_HIDDEN = "(hidden)"
_PER_RUN = ("time", "command", "packages")


@dataclass(frozen=True, slots=True)
class RunMeta:
    """One run's description.

    Attributes:
        config: the experiment's flags as given, after defaults.
        machine: CPU, cores, memory, system, Python.
        versions: packages that matter, and beyond-serve's own with its commit where it runs from one.
        started, ended: ISO 8601, UTC; `ended` is None until `RunFolder.finish`.
        status: "running" in a folder that nobody writes any more means that the run was killed.
    """

    experiment: str
    command: str
    config: Mapping[str, Any]
    seed: int
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    started: str
    ended: str | None = None
    status: Status = "running"
    notes: Sequence[str] = ()
    schema: int = SCHEMA

    @classmethod
    def now(
        cls, experiment: str, config: Mapping[str, object], seed: int, notes: Sequence[str] = ()
    ) -> RunMeta:
        """The description of a run that starts now, on this machine, by this process's command."""
        found = machine()
        packages = found["packages"]
        assert isinstance(packages, dict)
        return cls(
            experiment=experiment,
            command=shlex.join(["beyond-bench", *without_secrets(sys.argv[1:])]),
            config={key: _HIDDEN if key in _SECRET and value else value for key, value in config.items()},
            seed=seed,
            machine={key: value for key, value in found.items() if key not in _PER_RUN},
            versions={"beyond-serve": own_version(), **packages},
            started=_timestamp(),
            notes=tuple(notes),
        )

    def ending(self, status: Status, notes: Sequence[str]) -> RunMeta:
        return replace(self, status=status, ended=_timestamp(), notes=(*self.notes, *notes))

    def to_json(self) -> bytes:
        return encode(asdict(self), indent=True)

    @classmethod
    def from_json(cls, path: Path, content: bytes) -> RunMeta:
        """Raises:
        ConfigError: no description of a run, or one whose schema this version does not read.
        """
        try:
            found = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise ConfigError(f"{path} is damaged: {error}", "the run cannot be read") from None
        if not isinstance(found, dict) or not isinstance(found.get("schema"), int):
            raise ConfigError(f"{path} does not describe a run: it has no schema", "give a run's folder")
        versions = found.get("versions")
        wrote = versions.get("beyond-serve", "unknown") if isinstance(versions, dict) else "unknown"
        _check_schema(path, found["schema"], str(wrote))
        names = {field.name for field in fields(cls)}
        missing = sorted(names - found.keys())
        if missing:
            raise ConfigError(f"{path} is damaged: it has no {missing[0]!r}", "the run cannot be read")
        return cls(**{name: found[name] for name in names})


def without_secrets(arguments: Sequence[str]) -> list[str]:
    """A command's arguments as they may be kept and passed on: run folders are."""
    found: list[str] = []
    hide = False
    for argument in arguments:
        flag, equals, _ = argument.partition("=")
        secret = flag.removeprefix("--") in _SECRET and flag.startswith("--")
        found.append(_HIDDEN if hide else f"{flag}={_HIDDEN}" if secret and equals else argument)
        hide = secret and not equals
    return found


def encode(value: object, *, indent: bool = False) -> bytes:
    """JSON of records, numpy values and paths; what is not a number becomes null."""
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    return orjson.dumps(value, default=_plain, option=options | (orjson.OPT_INDENT_2 if indent else 0))


def _plain(value: object) -> object:
    return list(value) if isinstance(value, (tuple, set, frozenset)) else str(value)


def _check_schema(path: Path, schema: int, version: str) -> None:
    if schema < SCHEMA:
        raise ConfigError(
            f"{path} is of an older version: schema {schema}, this beyond-serve reads {SCHEMA}",
            f"read it with the beyond-serve that wrote it ({version}), or run the experiment again",
        )
    if schema > SCHEMA:
        raise ConfigError(
            f"{path} is of a newer version: schema {schema}, this beyond-serve reads {SCHEMA}",
            f"it was written by beyond-serve {version}: update to that",
        )


def _timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
