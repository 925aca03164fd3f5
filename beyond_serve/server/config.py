"""What to serve and how: frozen, checked once at the start. Flags over file, file over defaults."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from beyond_serve.batching import Levels
from beyond_serve.errors import ConfigError
from beyond_serve.preprocess.plan import Fidelity
from beyond_serve.server.device_list import parse_devices
from beyond_serve.server.ladder_rungs import parse_ladder
from beyond_serve.server.options import OPTIONS, Option

_BY_NAME = {option.name: option for option in OPTIONS}


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model. Fields are documented in options.py."""

    name: str
    source: str
    device: str = "auto"
    engine: str = "auto"
    precision: str = "auto"
    instances: int = 1
    instance_kind: str = "thread"
    policy: str = "fixed"
    max_batch: int = 0
    max_delay_us: int = 0
    max_queue: int = 1024
    max_queue_mb: float = 512.0
    priority_levels: int = 3
    priority_ageing_ms: float = 1000.0
    priority_queues: str = ""
    weight: float = 1.0
    timeout_ms: float = 0.0
    fidelity: Fidelity = "exact"
    ladder: str = ""
    ladder_wait_ms: float = 50.0
    decode: str = "auto"
    tolerate_corrupt: bool = False
    max_pixels: int = 50_000_000
    trust_plan: bool = False

    @property
    def levels(self) -> Levels:
        """
        Raises:
            ConfigError: `priority_queues` is no list of numbers above 0, one for each level.
        """
        try:
            limits = tuple(int(limit) for limit in self.priority_queues.split(",") if self.priority_queues)
        except ValueError:
            limits = (0,)
        if any(limit < 1 for limit in limits):
            raise ConfigError(
                f"priority-queues '{self.priority_queues}' is no list of numbers above 0",
                "for example --priority-queues 1000,800,500",
            )
        return Levels(self.priority_levels, round(self.priority_ageing_ms * 1e6), limits)


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The whole server. Fields are documented in options.py; an address of None is not served."""

    models: tuple[ModelConfig, ...]
    http: Address | None
    grpc: Address | None
    decode_threads: int = 0
    decode_memory_mb: float = 1024.0
    device_batches: int = 0
    token: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    max_body_mb: float = 64.0
    max_connections: int = 4096
    header_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    idle_timeout_s: float = 120.0
    drain_seconds: float = 30.0
    allow_client_shm: bool = False
    trace_file: str = ""
    trace_format: str = "chrome"
    log_level: str = "info"

    @property
    def max_body_bytes(self) -> int:
        return int(self.max_body_mb * 1024 * 1024)


def build_config(
    models: list[str], flags: Mapping[str, Any], file: str | None, environ: Mapping[str, str] = os.environ
) -> ServerConfig:
    """Join flags, file and environment.

    Args:
        models: values of `--model`: PATH or NAME=PATH.
        flags: options given as flags, by name with hyphens.
        file: path of a TOML file, or None.

    Raises:
        ConfigError: anything unknown, missing, out of range or contradictory.
    """
    table = _read_file(file) if file else {}
    in_file = table.pop("models", {})
    values = {option.name: option.default for option in OPTIONS}
    for key, value in table.items():
        option = _option(key, file)
        values[option.name] = _checked(option, value, file)
    values.update({name: _checked(_BY_NAME[name], value, None) for name, value in flags.items()})
    values["token"] = values["token"] or environ.get("BEYOND_SERVE_TOKEN", "")
    configs = [_model_from_table(name, entry, values, flags, file) for name, entry in _models(in_file, file)]
    configs += [_model(*_split(text), values) for text in models]
    _check_models(configs)
    if bool(values["tls-cert"]) != bool(values["tls-key"]):
        raise ConfigError("--tls-cert and --tls-key only work together", "give both, or neither")
    server = {
        o.field: values[o.name] for o in OPTIONS if o.scope == "server" and o.name not in ("http", "grpc")
    }
    http, grpc = _address("http", values["http"]), _address("grpc", values["grpc"])
    if http is None and grpc is None:
        raise ConfigError("--http off and --grpc off leave nothing to serve", "leave one of them on")
    return ServerConfig(models=tuple(configs), http=http, grpc=grpc, **server)


def _read_file(file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot read the configuration '{file}': {error.strerror}", "check --config"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"'{file}' is not valid TOML: {error}", "mend the file") from error


def _option(name: str, file: str | None, scope: str | None = None) -> Option:
    option = _BY_NAME.get(name) or _BY_NAME.get(name.replace("_", "-"))
    if option is None or (scope and option.scope != scope):
        known = ", ".join(o.name for o in OPTIONS if scope is None or o.scope == scope)
        where = f" in '{file}'" if file else ""
        raise ConfigError(f"unknown key '{name}'{where}", f"known keys: {known}")
    return option


def _checked(option: Option, value: Any, file: str | None) -> Any:
    where = f"'{option.name}' in '{file}'" if file else f"--{option.name}"
    if option.kind is float and type(value) is int:
        value = float(value)
    if type(value) is not option.kind:
        raise ConfigError(f"{where} must be {option.kind.__name__}, not {value!r}", "mend the value")
    if option.choices and value not in option.choices:
        raise ConfigError(f"{where} cannot be {value!r}", f"choose one of {', '.join(option.choices)}")
    if isinstance(value, str) and value in option.refused:
        others = " or ".join(choice for choice in reversed(option.choices) if choice not in option.refused)
        raise ConfigError(f"{where} is {value!r}: {option.refused[value]}", f"use {others}")
    # Asked this way round, for a NaN is not at least anything.
    if option.minimum is not None and not cast("float", value) >= option.minimum:
        raise ConfigError(f"{where} must be at least {option.minimum:g}, not {value!r}", "mend the value")
    return value


def _models(in_file: Any, file: str | None) -> list[tuple[str, dict[str, Any]]]:
    if not isinstance(in_file, dict) or not all(isinstance(entry, dict) for entry in in_file.values()):
        raise ConfigError(
            f"'models' in '{file}' must hold tables", "write [models.NAME] and under it path = …"
        )
    return list(in_file.items())


def _model_from_table(
    name: str, entry: dict[str, Any], values: Mapping[str, Any], flags: Mapping[str, Any], file: str | None
) -> ModelConfig:
    entry = dict(entry)
    source = entry.pop("path", None)
    if not isinstance(source, str):
        raise ConfigError(f"[models.{name}] in '{file}' names no path", 'add path = "model.onnx"')
    own = {}
    for key, value in entry.items():
        option = _option(key, file, "model")
        own[option.name] = _checked(option, value, file)
    # Paths in a file are relative to the file, so that it can be used from anywhere.
    if ":" not in source and source != "demo":
        source = str(Path(file or ".").parent / source)
    return _model(name, source, {**values, **own, **flags})


def _split(text: str) -> tuple[str, str]:
    """NAME and PATH of a `--model` value; the name defaults to the file's."""
    name, equals, source = text.partition("=")
    if not equals:
        name, source = _default_name(text), text
    if not name or not source:
        raise ConfigError(
            f"--model '{text}' is neither PATH nor NAME=PATH", "for example --model vit=vit.onnx"
        )
    return name, source


def _default_name(source: str) -> str:
    scheme, colon, rest = source.partition(":")
    if colon and scheme in ("null", "sim"):
        return Path(rest).stem if scheme == "sim" else scheme
    return Path(source).stem


def _model(name: str, source: str, values: Mapping[str, Any]) -> ModelConfig:
    if "/" in name or not name.isprintable():
        raise ConfigError(f"'{name}' cannot be a model's name", "use letters, digits, '.', '_' and '-'")
    config = ModelConfig(name, source, **{o.field: values[o.name] for o in OPTIONS if o.scope == "model"})
    config.levels  # noqa: B018 - checked once, at the start
    parse_ladder(config.ladder)
    parse_devices(config.device)
    return config


def _check_models(configs: list[ModelConfig]) -> None:
    if not configs:
        raise ConfigError("no model to serve", "give --model PATH (or --model demo), or --config FILE")
    names = [config.name for config in configs]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two models are named '{name}'", "name them: --model NAME=PATH")
    for config in configs:
        for rung in parse_ladder(config.ladder):
            if rung.model and (rung.model not in names or rung.model == config.name):
                raise ConfigError(
                    f"the ladder of '{config.name}' names '{rung.model}', which is no other model here",
                    f"models: {', '.join(names)}",
                )


def _address(option: str, text: str) -> Address | None:
    if text == "off":
        return None
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"--{option} '{text}' is no HOST:PORT", f"for example --{option} 0.0.0.0:8000")
    return Address(host.strip("[]") or "127.0.0.1", int(port))
