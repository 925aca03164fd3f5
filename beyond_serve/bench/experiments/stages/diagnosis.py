"""What bounds a server's throughput, from what was measured of it and of its parts. Pure.

The parts alone say what can be had: preprocessing T_pre and inference T_inf images/s on the server's cores.
Where both take the same cores the server can do 1 / (1/T_pre + 1/T_inf), otherwise the lesser of the two.
What is bound is then read from how busy each part was, from where the CPU went, and from where requests
waited.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from beyond_serve.bench.experiments.cpu_time import DISTURBED
from beyond_serve.bench.runs.tables import number

BUSY = 0.9
"""A part that works so much of the time has nothing to spare: an invented number."""

CPU_FULL = 0.85
"""The same of the server's cores, others' use of them included."""

DOMINANT = 0.6
"""A part with so much of the CPU's work is what bounds it; with less, the bound is shared."""

Bound = Literal["decoding", "inference", "the front end", "the CPU, shared", "the load", "nothing decided"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is judged; of one model and image size. Rates are images/s, shares 0 to 1.

    Attributes:
        preprocess, resident, raw: of the parts alone; None where not measured.
        preprocess_cpu_s, resident_cpu_s: CPU seconds that an image takes in the parts alone.
        cpu, others_cpu: of the server's process, and of all others, share of its `cores`.
        decoders_busy, instances_busy: share of the time that each decoder, each instance, had work.
        decode_wait_ms, batch_wait_ms, latency_ms: of the mean request.
        on_cpu: inference takes the same cores.
        input_ratio: bytes of a raw tensor's request over those of the image's.
        parts_cpu: share of the cores that preprocessing alone got, which takes all it can get.
        void: why the load says nothing about the server.
    """

    end_to_end: float
    concurrency: int
    cores: int
    preprocess: float | None = None
    resident: float | None = None
    raw: float | None = None
    preprocess_cpu_s: float | None = None
    resident_cpu_s: float | None = None
    cpu: float | None = None
    others_cpu: float | None = None
    decoders_busy: float | None = None
    instances_busy: float | None = None
    decode_wait_ms: float | None = None
    batch_wait_ms: float | None = None
    latency_ms: float | None = None
    batch: float | None = None
    max_batch: int | None = None
    on_cpu: bool = True
    input_ratio: float | None = None
    parts_cpu: float | None = None
    void: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The verdict in words: what it is bound by, the reason, and the facts beside it."""

    bound_by: Bound
    because: str
    facts: tuple[str, ...]


def allowed(evidence: Evidence) -> float | None:
    """Images/s that the parts alone allow a server that loses nothing; None if one was not measured."""
    pre, infer = evidence.preprocess, evidence.resident
    if not pre or not infer:
        return None
    return 1 / (1 / pre + 1 / infer) if evidence.on_cpu else min(pre, infer)


def disturbed(evidence: Evidence) -> bool:
    """Whether others took so much of the cores, from the parts or from the whole, that their rates cannot
    be compared. CPU seconds per image still can."""
    alone = 1.0 if evidence.parts_cpu is None else evidence.parts_cpu
    return (evidence.others_cpu or 0.0) > DISTURBED or alone < 1 - DISTURBED


def reached(evidence: Evidence) -> float | None:
    """Share of what the parts allow that the server reached; None where that cannot be said."""
    most = allowed(evidence)
    return None if most is None or evidence.void or disturbed(evidence) else evidence.end_to_end / most


def useful_cpu(evidence: Evidence) -> float | None:
    """Share of the CPU time that the server got which the parts alone would have needed; whoever else ran."""
    shares = cpu_shares(evidence)
    if not shares or not evidence.cpu:
        return None
    return min(1.0, (shares["decoding"] + shares["inference"]) / evidence.cpu)


def cpu_shares(evidence: Evidence) -> dict[str, float]:
    """Share of the server's cores that each kind of work took; {} if its CPU was not measured.

    Decoding and inference as the parts alone need per image; the front end (sockets, HTTP, batching,
    ranking) is what is left, and so holds what either costs more beside the other.
    """
    if evidence.cpu is None or evidence.preprocess_cpu_s is None:
        return {}
    per_core = evidence.end_to_end / evidence.cores
    decoding = per_core * evidence.preprocess_cpu_s
    inference = per_core * (evidence.resident_cpu_s or 0.0) if evidence.on_cpu else 0.0
    rest = max(0.0, evidence.cpu - decoding - inference)
    return {"decoding": decoding, "inference": inference, "the front end": rest}


def diagnose(evidence: Evidence) -> Diagnosis:
    """What bounds the throughput."""
    bound, because = _bound(evidence)
    return Diagnosis(bound, because, tuple(_facts(evidence)))


def _bound(evidence: Evidence) -> tuple[Bound, str]:
    if evidence.void:
        return "nothing decided", f"the measurement is void: {evidence.void[0]}"
    instances, decoders = evidence.instances_busy or 0.0, evidence.decoders_busy or 0.0
    if not evidence.on_cpu and instances >= BUSY:
        return "inference", f"the instances were busy {_percent(instances)} of the time{_batches(evidence)}"
    cpu_full = (evidence.cpu or 0.0) + (evidence.others_cpu or 0.0) >= CPU_FULL
    if cpu_full or max(instances, decoders) >= BUSY:
        return _bound_by_work(evidence, cpu_full=cpu_full)
    return _bound_by_load(evidence)


def _bound_by_work(evidence: Evidence, *, cpu_full: bool) -> tuple[Bound, str]:
    """Something is busy all the time: what is its work?"""
    decoders, instances = evidence.decoders_busy or 0.0, evidence.instances_busy or 0.0
    shares = cpu_shares(evidence)
    total = sum(shares.values())
    if not total:
        if decoders >= instances:
            return "decoding", f"the decoders were busy {_percent(decoders)} of the time"
        return "inference", f"the instances were busy {_percent(instances)} of the time"
    name, most = max(shares.items(), key=lambda item: item[1])
    busy = {"decoding": decoders, "inference": instances}.get(name, 0.0)
    words = f"{name} took {_percent(most / total)} of the server's CPU time"
    if cpu_full:
        words += f", which was {_percent(evidence.cpu or 0.0)} of its {_cores(evidence.cores)}"
    if (evidence.others_cpu or 0.0) > DISTURBED:
        words += f" (other programs took {_percent(evidence.others_cpu or 0.0)})"
    if busy >= BUSY:
        who = "decoders" if name == "decoding" else "instances"
        words += f"; the {who} were busy {_percent(busy)} of the time"
    if most / total < DOMINANT:
        second = sorted(shares.items(), key=lambda item: -item[1])[1]
        return (
            "the CPU, shared",
            f"{words}, and {second[0]} {_percent(second[1] / total)}: no part has it alone",
        )
    match name:
        case "decoding":
            return "decoding", words
        case "inference":
            return "inference", words
        case _:
            return "the front end", f"{words}: sockets, HTTP, batching and replying"


def _bound_by_load(evidence: Evidence) -> tuple[Bound, str]:
    wait, latency = evidence.batch_wait_ms, evidence.latency_ms
    if (
        wait is not None
        and latency
        and wait > latency / 2
        and (evidence.batch or 0) < (evidence.max_batch or 0)
    ):
        return (
            "the load",
            f"no part was busy: requests spent {_percent(wait / latency)} of their time waiting for batches "
            f"to fill ({number(evidence.batch or 0)} of {evidence.max_batch}); more in flight, or less delay",
        )
    return "the load", f"no part was busy: {evidence.concurrency} in flight do not fill the server"


def _facts(evidence: Evidence) -> list[str]:
    facts = []
    parts = [
        f"{name} {number(rate)}/s"
        for name, rate in (
            ("preprocessing alone", evidence.preprocess),
            ("inference alone, resident tensors", evidence.resident),
            ("inference from raw tensors", evidence.raw),
        )
        if rate is not None
    ]
    facts.append("; ".join([f"end to end {number(evidence.end_to_end)}/s", *parts]))
    most, share = allowed(evidence), reached(evidence)
    if most is not None and share is not None:
        how = "on the same cores" if evidence.on_cpu else "side by side"
        facts.append(f"the parts allow {number(most)}/s {how}, of which the server reached {_percent(share)}")
    busy = [
        f"{name} {_percent(share)}"
        for name, share in (
            ("decoders", evidence.decoders_busy),
            ("instances", evidence.instances_busy),
            (f"CPU ({_cores(evidence.cores)})", evidence.cpu),
            ("other programs there", evidence.others_cpu),
        )
        if share is not None
    ]
    if busy:
        facts.append(f"busy: {', '.join(busy)}")
    shares = cpu_shares(evidence)
    if shares:
        said = ", ".join(f"{name} {_percent(share)}" for name, share in shares.items())
        facts.append(f"of the CPU by what the parts alone need: {said}")
    if evidence.decode_wait_ms is not None and evidence.batch_wait_ms is not None and evidence.latency_ms:
        facts.append(
            f"requests waited {number(evidence.decode_wait_ms)} ms for a decoder and "
            f"{number(evidence.batch_wait_ms)} ms for their batch, of {number(evidence.latency_ms)} ms"
        )
    return [*facts, *_outlier(evidence)]


def _outlier(evidence: Evidence) -> list[str]:
    """The paper's TinyViT riddle: inference alone that is slower than the whole."""
    whole, raw, resident = evidence.end_to_end, evidence.raw, evidence.resident
    if raw is None or raw >= whole or evidence.void:
        return []
    size = (
        f", whose requests are {number(evidence.input_ratio)} times as large" if evidence.input_ratio else ""
    )
    said = f"end to end is {number(whole / raw)} times as fast as inference from raw tensors{size}"
    if resident is None or resident <= whole:
        return [said]
    return [
        f"{said}: the paper's TinyViT outlier; it is the transfer, for resident tensors are inferred at "
        f"{number(resident)}/s"
    ]


def _batches(evidence: Evidence) -> str:
    if not evidence.batch or not evidence.max_batch:
        return ""
    return f", at {number(evidence.batch)} images a batch of {evidence.max_batch}"


def _cores(cores: int) -> str:
    return "1 core" if cores == 1 else f"{cores} cores"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
