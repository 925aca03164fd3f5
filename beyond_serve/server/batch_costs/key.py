"""What a table of batch costs belongs to: anything that changes what a batch takes changes the key."""

from __future__ import annotations

import hashlib
import platform
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from beyond_serve import __version__
from beyond_serve.engines.protocol import EngineInfo
from beyond_serve.server.device_list import card

HASHED_BYTES = 32 * 1024 * 1024
"""Up to here a model is known by its content; larger ones by path, size and time, since hashing some
hundred megabytes would take as long as measuring. An invented number."""

_DISTRIBUTIONS = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "tensorrt": ("tensorrt", "tensorrt-lean", "tensorrt-rtx"),
}
_CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class CostKey:
    """Tables are found by equal keys.

    Attributes:
        model: the model file's name.
        content: that file's hash, or its path, size and time.
        image_shape: (H, W, 3) of a decoded row; empty if the engine decodes.
        device: as `kind_of_device` says it: the card, not its number.
        threads: of one instance.
        instances: of all devices.
        max_batch: the largest size that was to be measured.
        cpu: the processor's model.
        version: of this package.
    """

    model: str
    content: str
    engine: str
    engine_version: str
    precision: str
    device: str
    image_shape: tuple[int, ...]
    threads: int
    instances: int
    instance_kind: str
    max_batch: int
    cpu: str
    version: str = __version__

    def as_dict(self) -> dict[str, object]:
        return {**asdict(self), "image_shape": list(self.image_shape)}


def cost_key(
    path: Path, info: EngineInfo, *, threads: int, instances: int, instance_kind: str, max_batch: int
) -> CostKey:
    """The key of the model in `path` as it is served now. Blocks for reading the file.

    Raises:
        OSError: the file cannot be read any more.
    """
    return CostKey(
        model=path.name,
        content=content_of(path),
        engine=info.engine,
        engine_version=_engine_version(info.engine),
        precision=info.precision,
        device=kind_of_device(info.device),
        image_shape=info.image_shape or (),
        threads=threads,
        instances=instances,
        instance_kind=instance_kind,
        max_batch=max_batch,
        cpu=cpu_model(),
    )


def kind_of_device(devices: str) -> str:
    """What changes the time of a batch of `EngineInfo.device`, one or several with commas between: "cpu",
    "NVIDIA H200", "2 x NVIDIA H200". Its number does not, and may be another at the next start."""
    cards = Counter(card(device) for device in devices.split(","))
    return ", ".join(f"{count} x {name}" if count > 1 else name for name, count in sorted(cards.items()))


def key_from(table: Mapping[str, Any]) -> CostKey:
    """The key that `as_dict` wrote.

    Raises:
        ValueError: it is none.
    """
    if set(table) != {field.name for field in fields(CostKey)} or not isinstance(table["image_shape"], list):
        raise ValueError("a key has other fields")
    return CostKey(**{**table, "image_shape": tuple(table["image_shape"])})


def is_current(key: CostKey, model: str, content: str) -> bool:
    """Whether `key` is of that model file on this machine, with what is installed here now."""
    mine = (model, content, cpu_model(), __version__, _engine_version(key.engine))
    return mine == (key.model, key.content, key.cpu, key.version, key.engine_version)


def model_file(source: str) -> Path | None:
    """The file that a model is read from; None for `null:`, which has none."""
    if source.startswith("null:"):
        return None
    return Path(source.removeprefix("sim:"))


def content_of(path: Path) -> str:
    """What tells this file from others of its name. Raises OSError."""
    state = path.stat()
    if state.st_size > HASHED_BYTES:
        return f"{path.resolve()} {state.st_size} {state.st_mtime_ns}"
    with path.open("rb") as file:
        return "sha256 " + hashlib.file_digest(file, "sha256").hexdigest()


def cpu_model() -> str:
    """As the system names it; the architecture where it names none."""
    try:
        text = _CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    for line in text.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _engine_version(engine: str) -> str:
    """Of the installed package; empty for engines of our own."""
    for name in _DISTRIBUTIONS.get(engine, (engine,)):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""
