"""What calls return: frozen records, the same over HTTP and gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class and its score.

    Attributes:
        label: over HTTP the index as text, over gRPC None, if the server has no label for the class.
        score: a probability.
    """

    label: str | None
    index: int
    score: float

    def __str__(self) -> str:
        return f"{self.label if self.label is not None else f'class {self.index}'} {self.score:.4g}"


@dataclass(frozen=True, slots=True)
class TraceReport:
    """Where the request's time went inside the server, in microseconds; ends where the reply is encoded.

    Attributes:
        total_us: first byte received to reply encoded; the sum of `stages_us` plus `residual_us`.
        stages_us: each stage's time in the order it ran; a stage that was skipped is 0.
        release: why the batch left: "full", "delay", "idle" or "deadline"; "retry" if the request ran again,
            alone, after its first batch failed or its instance was lost.
        instance: which instance ran the batch.
        simulated: the model is an emulated accelerator and its times are made up.
        rung: which plan of the server's `--ladder` served it, such as "fast"; empty without a ladder.

    In a call of several images over gRPC the trace is the one of its slowest.
    """

    total_us: float
    stages_us: Mapping[str, float] = field(hash=False)
    residual_us: float
    batch_size: int
    release: str
    instance: str
    simulated: bool
    rung: str = ""

    def __str__(self) -> str:
        spent = ", ".join(f"{name} {us:.0f}" for name, us in self.stages_us.items() if us)
        text = f"{self.total_us:.0f} us ({spent or 'no stage ran'})"
        text += f" in a batch of {self.batch_size} ({self.release}) on {self.instance}"
        if self.rung:
            text += f", rung {self.rung}"
        return f"{text}, simulated" if self.simulated else text


def read_trace(document: Mapping[str, Any]) -> TraceReport:
    """The trace out of the JSON that both transports carry.

    Raises:
        KeyError, TypeError: it is no trace.
    """
    return TraceReport(
        total_us=document["total_us"],
        stages_us=document["stages_us"],
        residual_us=document["residual_us"],
        batch_size=document["batch"]["size"],
        release=document["batch"]["release"],
        instance=document["instance"],
        simulated=document["simulated"],
        rung=document.get("rung", ""),
    )


@dataclass(frozen=True, slots=True, repr=False)
class Prediction:
    """One image's best classes, highest score first."""

    model: str
    classes: tuple[ClassScore, ...]
    trace: TraceReport | None = None

    @property
    def top(self) -> ClassScore:
        """The best class. Raises `IndexError` for an answer without classes."""
        return self.classes[0]

    def __str__(self) -> str:
        lines = [f"{self.model}: {', '.join(str(score) for score in self.classes) or 'no classes'}"]
        if self.trace is not None:
            lines.append(str(self.trace))
        return "\n".join(lines)

    def __repr__(self) -> str:
        traced = f", {self.trace.total_us:.0f} us" if self.trace is not None else ""
        return f"<Prediction {self.model!r}: {', '.join(str(score) for score in self.classes)}{traced}>"


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model in the server's repository.

    state: READY, LOADING, UNLOADING or UNAVAILABLE; `reason` says why it is not ready.
    """

    name: str
    version: str
    state: str
    reason: str = ""

    @property
    def ready(self) -> bool:
        return self.state == "READY"


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """A model's input or output: the protocol's datatype (FP32, BYTES …); -1 in `shape` where it is free."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]
