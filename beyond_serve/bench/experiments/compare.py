"""`beyond-bench compare`: our preprocessing against others', over threads (SMOL, App. A.1, Fig. 10).

(a) on the CPU, our optimisations off   (b) each at its best   (c) end to end, with the network

All run in this process, each thread making whole batches by itself; in (c) each thread then infers its batch
by a context of its own, of the same engine for all.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from beyond_serve.bench.experiments.experiment import Experiment, PublishedFigure
from beyond_serve.bench.experiments.local_model import RESNET50, LocalModel, infer, local_model
from beyond_serve.bench.experiments.pipelines import (
    TORCH_STYLE,
    Pipeline,
    Task,
    best_pipelines,
    missing,
    plain_pipelines,
)
from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.experiments.rounds import Case, Length, Work, disturbed, interleaved
from beyond_serve.bench.experiments.serving import gpu_gap
from beyond_serve.bench.experiments.serving_arguments import asked_images
from beyond_serve.bench.runs.figures import Figure
from beyond_serve.bench.runs.folder import Point, RunFolder
from beyond_serve.bench.runs.tables import Table, number
from beyond_serve.engines.cores import available_cores
from beyond_serve.engines.protocol import Engine
from beyond_serve.errors import ConfigError

PLAIN, BEST, WHOLE = "a", "b", "c"
PANELS = {
    PLAIN: "(a) CPU preprocessing, our optimisations off",
    BEST: "(b) preprocessing, each at its best",
    WHOLE: "(c) end to end",
}
OFF, FAST = "ours, optimisations off", "ours, fast"
_BATCH = 16
Threaded = tuple[str, int, Sequence[Work]]
"""A pipeline, the number of threads, and what each thread does."""
_LENGTH, _QUICK_LENGTH = Length(15, 0.4), Length(7, 0.12)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        default="demo",
        metavar="MODEL",
        help=f"demo, {RESNET50} (random weights) or a file: whose plan and, in (c), network (default: demo)",
    )
    parser.add_argument(
        "--sizes", default="medium", metavar="LIST", help="one image: a size or a file (default: medium)"
    )
    parser.add_argument(
        "--threads", metavar="LIST", help="as in 1,2,4 (default: powers of two up to the cores)"
    )
    parser.add_argument("--batch", type=int, default=_BATCH, help=f"images (default: {_BATCH})")


def run(given: argparse.Namespace, run: RunFolder, reporter: Reporter) -> None:
    threads = asked_threads(given.threads, available_cores())
    if given.batch < 1:
        raise ConfigError(f"--batch {given.batch} is no batch", "at least 1 is needed")
    image, *more = asked_images(given)
    if more:
        raise ConfigError("compare takes one image", "as in --sizes medium")
    length = _QUICK_LENGTH if given.quick else _LENGTH
    with tempfile.TemporaryDirectory() as folder:
        model = local_model(given.model, Path(folder))
        task = Task.of(image.data, model.plan)
        for panel, cases in _panels(model, task, threads, given.batch):
            named = {f"{pipeline}, {count} threads": (pipeline, count) for pipeline, count, _ in cases}
            turns = [Case(name, case[2]) for name, case in zip(named, cases, strict=True)]
            for name, rounds in interleaved(turns, length, reporter, PANELS[panel]).items():
                pipeline, count = named[name]
                labels = {"panel": panel, "what": pipeline, "threads": count}
                told = {"model": model.name, "image": image.name, "batch": given.batch}
                run.add_point({"labels": labels, **rounds.point(), **told})


def asked_threads(text: str | None, cores: int) -> list[int]:
    """As asked, or 1, 2, 4 … and all cores.

    Raises:
        ConfigError: no list of numbers.
    """
    if text is None:
        return sorted({*(1 << power for power in range(cores.bit_length())), cores})
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        found = [0]
    if not 1 <= found[0] <= found[-1] <= 1024:
        raise ConfigError(f"--threads {text} is no list of thread counts", "as in --threads 1,2,4")
    return found


def _panels(
    model: LocalModel, task: Task, threads: Sequence[int], batch: int
) -> Iterator[tuple[str, Sequence[Threaded]]]:
    """Each panel's pipelines with their workers, by threads."""
    for panel, pipelines in ((PLAIN, plain_pipelines()), (BEST, best_pipelines())):
        yield (
            panel,
            [
                (one.name, count, [_preprocess(one, task, batch) for _ in range(count)])
                for one in pipelines
                for count in threads
            ],
        )
    with contextlib.ExitStack() as stack:
        engines = {
            count: stack.enter_context(contextlib.closing(model.load(instances=count))) for count in threads
        }
        yield (
            WHOLE,
            [
                (one.name, count, [_end_to_end(one, task, batch, engines[count]) for _ in range(count)])
                for one in best_pipelines()
                for count in threads
            ],
        )


def _preprocess(pipeline: Pipeline, task: Task, batch: int) -> Work:
    fill, rows = pipeline.make(task), batch_of(pipeline, task, batch)

    def work() -> int:
        fill(rows)
        return batch

    return work


def _end_to_end(pipeline: Pipeline, task: Task, batch: int, engine: Engine) -> Work:
    fill, rows = pipeline.make(task), batch_of(pipeline, task, batch)
    context = engine.create_context()

    def work() -> int:
        fill(rows)
        infer(context, rows)
        return batch

    return work


def batch_of(pipeline: Pipeline, task: Task, batch: int) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """An empty batch, made once and filled again and again."""
    height, width, channels = task.plan.output_shape
    if pipeline.output == "uint8":
        return np.zeros((batch, height, width, channels), np.uint8)
    return np.zeros((batch, channels, height, width), np.float32)


def tables(run: RunFolder) -> Sequence[Table]:
    if not run.points:
        return ()
    threads = sorted({point["labels"]["threads"] for point in run.points})
    first = run.points[0]
    notes = [
        f"medians of {first['rounds']} interleaved rounds; {first['image']} image, {first['model']}'s plan, "
        f"batches of {first['batch']}",
        "all pipelines run in threads of one process; CPU ms is what one image costs of all threads' time",
        "ours writes uint8 in (b) and (c), which the engine's graph normalises; all others make float32. "
        f"In (b) {TORCH_STYLE} decodes by Pillow's draft, OpenCV at a reduced scale",
        *disturbed(run.points),
    ]
    found = []
    for panel, title in PANELS.items():
        rows = [
            (name, *(_rate(of_name, count) for count in threads), 1e3 * of_name[max(of_name)]["cpu_s"])
            for name, of_name in lines(run, panel).items()
        ]
        columns = ("", *(f"{count} thread{'s' if count > 1 else ''}" for count in threads), "CPU ms")
        if rows:
            found.append(Table(f"{title}, images/s", columns, rows, notes if panel == WHOLE else ()))
    return found


def lines(run: RunFolder, panel: str) -> dict[str, dict[int, Point]]:
    """Of each pipeline its points, by threads."""
    found: dict[str, dict[int, Point]] = {}
    for point in run.points:
        labels = point["labels"]
        if labels["panel"] == panel:
            found.setdefault(labels["what"], {})[labels["threads"]] = point
    return found


def _rate(points: Mapping[int, Point], threads: int) -> float | None:
    return points[threads]["images_per_s"] if threads in points else None


def plots(run: RunFolder) -> Sequence[Figure]:
    from beyond_serve.bench.runs.plots.curves import Panel, Series, curves

    panels = []
    for panel, title in PANELS.items():
        series = [
            Series(
                _short(name),
                list(points),
                [point["images_per_s"] for point in points.values()],
                low=[point["low"] for point in points.values()],
                high=[point["high"] for point in points.values()],
            )
            for name, points in lines(run, panel).items()
        ]
        panels.append(Panel("images/s", series, heading=title))
    caption = (
        "Medians of interleaved rounds, bands from the lowest to the highest. SMOL, Fig. 10 shows the same "
        "over 4 to 32 vCPUs with a T4."
    )
    return [curves("compare", "Preprocessing over threads", "threads", panels, caption=caption)]


def _short(name: str) -> str:
    return name.partition(" (")[0].replace(", optimisations off", "")


def _against(panel: str, ours: str, other: str) -> Callable[[RunFolder], object | None]:
    def told(run: RunFolder) -> object | None:
        found = lines(run, panel)
        mine = found.get(ours, {})
        theirs = next((points for name, points in found.items() if name.startswith(other)), {})
        both = sorted(set(mine) & set(theirs))
        ratios = [f"{_over(mine, theirs, count)}x with {count}" for count in both]
        return f"ours over {other}: {', '.join(ratios)}" if both else None

    return told


def _over(mine: Mapping[int, Point], theirs: Mapping[int, Point], threads: int) -> str:
    return number(mine[threads]["images_per_s"] / theirs[threads]["images_per_s"])


def cannot() -> Sequence[str]:
    few = available_cores()
    told = [*missing(), gpu_gap()]
    told.append("DALI's split CPU and GPU preprocessing, and TensorRT: they need a GPU")
    if few < 32:
        told.append(f"the paper's 4 to 32 vCPUs: {few} core{'s are' if few > 1 else ' is'} here")
    return told


_WHERE, _HARDWARE = "SMOL App. A.1, Fig. 10", "AWS g4dn, one T4, 4 to 32 vCPUs, ResNet-50"
EXPERIMENT = Experiment(
    name="compare",
    help="our preprocessing against PyTorch-style, OpenCV and DALI, over threads (SMOL, Fig. 10)",
    add_arguments=add_arguments,
    run=run,
    tables=tables,
    plots=plots,
    published=tuple(
        PublishedFigure(f"({panel}) against {other}", text, _WHERE, _against(panel, ours, other), _HARDWARE)
        for panel, ours, other, text in (
            (PLAIN, OFF, TORCH_STYLE, "SMOL faster at any number of cores"),
            (PLAIN, OFF, "DALI", "SMOL faster at any number of cores"),
            (BEST, FAST, TORCH_STYLE, "only DALI is compared"),
            (BEST, FAST, "DALI", "SMOL faster from 8 vCPUs; DALI at 4"),
            (WHOLE, FAST, TORCH_STYLE, "SMOL and DALI faster"),
            (WHOLE, FAST, "DALI", "SMOL faster everywhere"),
        )
    ),
    cannot=cannot,
)
