"""The stages' points as evidence, tables and plots."""

from __future__ import annotations

from collections.abc import Sequence

from beyond_serve.bench.experiments.cpu_time import DISTURBED, disturbance
from beyond_serve.bench.experiments.stages.diagnosis import (
    Diagnosis,
    Evidence,
    allowed,
    diagnose,
    reached,
    useful_cpu,
)
from beyond_serve.bench.runs.figures import Figure
from beyond_serve.bench.runs.folder import Point, RunFolder
from beyond_serve.bench.runs.tables import Table

PREPROCESS, RESIDENT, RAW, WHOLE = "preprocess", "inference, resident", "inference, raw", "end to end"


def stage_point(run: RunFolder, model: str, stage: str, size: str | None = None) -> Point | None:
    """The point of a stage; those of inference have no size."""
    for point in run.points:
        labels = point["labels"]
        if (labels.get("model"), labels.get("stage"), labels.get("size")) == (model, stage, size):
            return point
    return None


def stage_rate(run: RunFolder, model: str, stage: str, size: str | None = None) -> float | None:
    point = stage_point(run, model, stage, size)
    return None if point is None else float(point["images_per_s"])


def is_void(run: RunFolder, model: str, size: str) -> bool:
    """Whether the end-to-end point says nothing."""
    whole = stage_point(run, model, WHOLE, size)
    return whole is not None and bool(whole["load"]["void"])


def cases(run: RunFolder) -> list[tuple[str, str]]:
    """Models and sizes of which anything is known."""
    found = [
        (point["labels"]["model"], point["labels"]["size"])
        for point in run.points
        if "size" in point["labels"]
    ]
    return list(dict.fromkeys(found))


def evidence(run: RunFolder, model: str, size: str) -> Evidence | None:
    """What the points say of one model and size; None without its end-to-end point."""
    whole = stage_point(run, model, WHOLE, size)
    if whole is None:
        return None
    preprocess = stage_point(run, model, PREPROCESS, size)
    resident = stage_point(run, model, RESIDENT)
    raw = stage_point(run, model, RAW)
    load, parts = whole["load"], whole["parts"]
    mean = (load["stages_ms"] or {}).get("mean", {})
    return Evidence(
        end_to_end=whole["images_per_s"],
        concurrency=whole["concurrency"],
        cores=whole["cores"],
        preprocess=None if preprocess is None else preprocess["images_per_s"],
        resident=None if resident is None else resident["images_per_s"],
        raw=None if raw is None or raw["load"]["void"] else raw["images_per_s"],
        preprocess_cpu_s=None if preprocess is None else preprocess["cpu_s"],
        resident_cpu_s=None if resident is None else resident["cpu_s"],
        cpu=whole["server"]["cpu"],
        others_cpu=whole["server"].get("others_cpu"),
        decoders_busy=whole["busy"].get("decoders"),
        instances_busy=whole["busy"].get("instances"),
        decode_wait_ms=mean.get("decode_wait"),
        batch_wait_ms=mean.get("batch_wait"),
        latency_ms=load["latency_ms"]["mean"],
        batch=load["batch_size_mean"],
        max_batch=parts["batch"],
        on_cpu=parts["on_cpu"],
        input_ratio=_input_ratio(raw, whole),
        parts_cpu=None if preprocess is None else _parts_cpu(preprocess),
        void=tuple(load["void"]),
    )


def _parts_cpu(preprocess: Point) -> float:
    """Of as many cores as it has threads for."""
    used = min(preprocess["cores"], preprocess["parts"]["decode_threads"])
    return float(preprocess["images_per_s"] * preprocess["cpu_s"] / used)


def _input_ratio(raw: Point | None, whole: Point) -> float | None:
    sent = [_request_bytes(point) for point in (raw, whole)]
    return sent[0] / sent[1] if sent[0] and sent[1] else None


def _request_bytes(point: Point | None) -> float | None:
    if point is None or not point["load"]["requests"]:
        return None
    return float(point["load"]["bytes_sent"] / point["load"]["requests"])


def diagnoses(run: RunFolder) -> list[tuple[str, str, Diagnosis]]:
    found = [(model, size, evidence(run, model, size)) for model, size in cases(run)]
    return [(model, size, diagnose(facts)) for model, size, facts in found if facts is not None]


def tables(run: RunFolder) -> Sequence[Table]:
    if not run.points:
        return ()
    columns = (
        *("model", "image", "preprocess", "inference, raw", "inference, resident", "end to end"),
        *("parts allow", "reached %", "useful CPU %", ""),
    )
    rows = [_row(run, model, size) for model, size in cases(run)]
    notes = [
        "preprocess: the server's pool alone; resident: the engine's contexts alone, full batches of rows in "
        "memory; raw: the client sends the model's own tensor over HTTP",
        "parts allow: 1 / (1/preprocess + 1/resident) where both take the same cores, else the lesser; "
        "reached: of that, if nothing else ran on the cores",
        "useful CPU: share of the server's CPU time that the parts alone would have needed",
        *_notes(run),
    ]
    found = diagnoses(run)
    verdicts = Table(
        "What bounds the throughput",
        ("model", "image", "bound by", "because"),
        [(model, size, said.bound_by, said.because) for model, size, said in found],
        [f"{model}, {size}: {fact}" for model, size, said in found for fact in said.facts],
    )
    return [Table("Images per second", columns, rows, notes), verdicts]


def _row(run: RunFolder, model: str, size: str) -> Sequence[object]:
    facts = evidence(run, model, size)
    whole = None if facts is None else facts.end_to_end
    return (
        model,
        size,
        stage_rate(run, model, PREPROCESS, size),
        stage_rate(run, model, RAW),
        stage_rate(run, model, RESIDENT),
        whole,
        *((None, None, None) if facts is None else _against_the_parts(facts)),
        "void" if facts is not None and facts.void else "",
    )


def _against_the_parts(facts: Evidence) -> tuple[float | None, float | None, float | None]:
    return (allowed(facts), _percent(reached(facts)), _percent(useful_cpu(facts)))


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _notes(run: RunFolder) -> list[str]:
    """Void points, disturbed ones, and what models ran on."""
    notes = disturbance(run.points)
    for point in run.points:
        if point["labels"]["stage"] == RESIDENT:
            parts = point["parts"]
            notes.append(
                f"{point['labels']['model']}: {parts['engine']} {parts['precision']} on {parts['device']}"
            )
        name = ", ".join(point["labels"].values())
        if point["labels"]["stage"] == PREPROCESS and _parts_cpu(point) < 1 - DISTURBED:
            notes.append(f"DISTURBED: {name}, alone, got {100 * _parts_cpu(point):.0f} % of its cores")
        notes += [f"VOID, {name}: {reason}" for reason in point.get("load", {}).get("void", ())]
    return notes


def plots(run: RunFolder) -> Sequence[Figure]:
    from beyond_serve.bench.runs.plots.bars import BarSeries, grouped_bars

    figures = []
    for model in dict.fromkeys(model for model, _ in cases(run)):
        sizes = [size for name, size in cases(run) if name == model]
        series = []
        for stage in (PREPROCESS, RAW, RESIDENT, WHOLE):
            of_sizes = [size if stage in (PREPROCESS, WHOLE) else None for size in sizes]
            points = [stage_point(run, model, stage, size) for size in of_sizes]
            if any(points):
                values = [None if point is None else float(point["images_per_s"]) for point in points]
                void = [bool(point and point.get("load", {}).get("void")) for point in points]
                series.append(BarSeries(stage, values, void=void))
        figures.append(
            grouped_bars(
                f"stages-{model}",
                f"{model}: the parts alone, and end to end",
                sizes,
                series,
                "images per second",
                log=True,
                caption="Inference alone does not depend on the image's size. Beyond, Fig. 7 shows the same "
                "on an RTX 4090, its inference alone being from raw tensors.",
            )
        )
    return figures
