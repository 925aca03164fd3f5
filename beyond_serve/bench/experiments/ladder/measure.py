"""All rungs' servers side by side, loaded in turns."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from beyond_serve.bench.experiments.ladder import plain_app
from beyond_serve.bench.experiments.ladder.quantize import quantize
from beyond_serve.bench.experiments.ladder.rungs import OPENVINO, Machine, Rung, rungs
from beyond_serve.bench.experiments.models.source import named_or_made
from beyond_serve.bench.experiments.pace import Pace
from beyond_serve.bench.experiments.reporter import Reporter
from beyond_serve.bench.experiments.search.halving import Plan
from beyond_serve.bench.experiments.search.measure import Goal, Workshop, whole_machine
from beyond_serve.bench.experiments.search.run import confirmed_or_defaults, find
from beyond_serve.bench.experiments.search.settings import make_space
from beyond_serve.bench.experiments.search.space import Value
from beyond_serve.bench.experiments.serving import Cores, ModelSource, Offer, Served, room_for, serving
from beyond_serve.bench.experiments.serving_arguments import asked_flags
from beyond_serve.bench.load.arrivals import ClosedLoop
from beyond_serve.bench.load.images import MixImage, image_mix
from beyond_serve.bench.processes import free_port, started
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.demo.location import demo_model
from beyond_serve.engines.cores import has_fast_bf16
from beyond_serve.errors import BeyondError, ConfigError

MODEL = "cnn-16"
CONCURRENT, QUICK_CONCURRENT = 32, 16
ROUNDS, QUICK_ROUNDS = 5, 2
_PACE, _QUICK_PACE = Pace(1.0, 4.0, 4.0), Pace(0.3, 1.0, 3.0)
_SEARCH, _CONFIRMATIONS = Plan(first=9, full=4.0), 3


@dataclass(frozen=True, slots=True)
class Scene:
    """What all rungs have in common.

    Attributes:
        flags: of beyond-serve, given by the user.
    """

    image: MixImage
    cores: Cores
    flags: tuple[str, ...]
    seed: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        default=MODEL,
        metavar="MODEL",
        help=f"an ONNX file, demo, or a network made here (default: {MODEL}, 0.29 GMACs, random weights)",
    )
    parser.add_argument("--size", default="medium", metavar="SIZE", help="the image (default: medium)")
    parser.add_argument(
        "--concurrency",
        type=int,
        metavar="N",
        help=f"requests in flight, but for the search's own (default: {CONCURRENT}; "
        f"--quick {QUICK_CONCURRENT})",
    )
    parser.add_argument(
        "--rounds", type=int, metavar="N", help=f"turns (default: {ROUNDS}; --quick {QUICK_ROUNDS})"
    )
    parser.add_argument(
        "--settings",
        metavar="RUN",
        help="the folder of a run of beyond-bench search, whose settings are taken; else a search is made "
        "(not with --quick)",
    )
    parser.add_argument(
        "--flags", default="", metavar="'--FLAG VALUE …'", help="further flags of beyond-serve"
    )


def run(given: argparse.Namespace, run: RunFolder, reporter: Reporter) -> None:
    images = image_mix(given.size, given.seed)
    concurrency = given.concurrency or (QUICK_CONCURRENT if given.quick else CONCURRENT)
    if len(images) > 1 or not 1 <= concurrency <= 4096:
        raise ConfigError(
            "a ladder has one image and a concurrency of 1 to 4096", "mend --size, --concurrency"
        )
    cores, said = whole_machine()
    reporter.note(said)
    scene = Scene(images[0], cores, asked_flags(given), given.seed)
    with tempfile.TemporaryDirectory() as folder:
        model = with_file(named_or_made(given.model, Path(folder), given.seed))
        found, why = _found(given, model, scene, run, reporter)
        machine = Machine(len(cores.server), has_fast_bf16(), has_fast_int8())
        steps = rungs(machine, concurrency, found, no_search=why)
        steps, quantized = _quantized(steps, model, Path(folder), reporter)
        pace, turns = (_QUICK_PACE, QUICK_ROUNDS) if given.quick else (_PACE, ROUNDS)
        with contextlib.ExitStack() as stack:
            servers: dict[str, Served] = {}
            for step in steps:
                if not step.program:
                    run.add_point({"labels": {"rung": step.name}, **_described(step, steps, model)})
                    continue
                reporter.status(f"starting: {step.name}")
                source = quantized if step.quantized else model
                servers[step.name] = stack.enter_context(_started(step, source, scene))
            for turn in range(1, (given.rounds or turns) + 1):
                _climb(turn, steps, servers, scene, pace, run, reporter)


def with_file(model: ModelSource) -> ModelSource:
    """The plain program needs a file.

    Raises:
        ConfigError: there is none that it could run.
    """
    if model.source == "demo":
        return ModelSource(model.name, str(demo_model()))
    if not model.source.endswith(".onnx"):
        raise ConfigError(f"the plain loop cannot run '{model.source}'", "give an ONNX file")
    return model


def has_fast_int8() -> bool:
    """VNNI or AMX, by the CPU's flags."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split())
    except OSError:
        return False
    return not {"avx512_vnni", "avx_vnni", "amx_int8"}.isdisjoint(flags)


def settings_of(path: Path) -> dict[str, Value]:
    """What a run of `search` wrote.

    Raises:
        ConfigError: no such run, or one that did not come to its end.
    """
    for point in RunFolder.open(path).points:
        if point["labels"].get("phase") == "kept":
            return dict(point["settings"])
    raise ConfigError(f"{path} has found nothing", "give a run of beyond-bench search that ended")


def _found(
    given: argparse.Namespace, model: ModelSource, scene: Scene, run: RunFolder, reporter: Reporter
) -> tuple[dict[str, Value] | None, str]:
    """The search's settings, or why there are none."""
    if given.settings:
        return settings_of(Path(given.settings)), ""
    if given.quick:
        return None, "left out by --quick; give --settings RUN"
    space, flags = make_space(len(scene.cores.server), ()), (*OPENVINO, *scene.flags)
    with Workshop(
        model, scene.image, space, Goal(), scene.cores, flags, run, reporter, scene.seed
    ) as workshop:
        found = find(workshop, _SEARCH)
        return dict(confirmed_or_defaults(workshop, found, _SEARCH.full, _CONFIRMATIONS).settings), ""


def _quantized(
    steps: Sequence[Rung], model: ModelSource, folder: Path, reporter: Reporter
) -> tuple[list[Rung], ModelSource]:
    """The int8 copy of the model; where there can be none, the rung says why."""
    copy = ModelSource(model.name, str(folder / f"{model.name}-int8.onnx"))
    if not any(step.quantized and step.program for step in steps):
        return list(steps), copy
    reporter.status("quantising the model")
    try:
        quantize(Path(model.source), Path(copy.source))
        beside = Path(model.source).with_suffix(".toml")
        if beside.is_file():
            Path(copy.source).with_suffix(".toml").write_bytes(beside.read_bytes())
    except BeyondError as error:
        return [
            dataclasses.replace(step, program="", why=error.message) if step.quantized else step
            for step in steps
        ], copy
    return list(steps), copy


def _climb(
    turn: int,
    steps: Sequence[Rung],
    servers: Mapping[str, Served],
    scene: Scene,
    pace: Pace,
    run: RunFolder,
    reporter: Reporter,
) -> None:
    """Every rung once; those that have no load sleep."""
    for step in steps:
        if step.name not in servers:
            continue
        server = servers[step.name]
        warmup_s, measured_s = pace.lengths(step.concurrency, _rate(run, step))
        offer = Offer(ClosedLoop(step.concurrency), scene.image, measured_s, warmup_s, seed=scene.seed + turn)
        measured = server.offer(offer, reporter, f"turn {turn}: {step.name}")
        labels = {"rung": step.name, "turn": turn}
        run.add_point(measured.point(labels, **_described(step, steps, server.model)))
        run.add_requests(f"rung-{steps.index(step) + 1}-turn-{turn}", measured.result)
        measured.go_on()


def _rate(run: RunFolder, step: Rung) -> float:
    """In the turn before; 0 in the first."""
    rates = [p["load"]["throughput_per_s"] for p in run.points if p["labels"].get("rung") == step.name]
    return float(rates[-1]) if rates else 0.0


def _described(step: Rung, steps: Sequence[Rung], model: ModelSource) -> Mapping[str, object]:
    return {
        "place": steps.index(step),
        "model": model.name,
        "adds": step.adds,
        "program": step.program,
        "flags": list(step.flags),
        "concurrency": step.concurrency,
        "counterpart": step.counterpart,
        "why": step.why,
    }


@contextlib.contextmanager
def _started(step: Rung, model: ModelSource, scene: Scene) -> Iterator[Served]:
    if step.program == "server":
        flags = (*room_for(step.concurrency, len(scene.image.data)), *scene.flags, *step.flags)
        with serving(model, scene.cores, flags) as server:
            yield server
        return
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = plain_app.command(port, model.source, step.threads)
    pinned = scene.cores.server if scene.cores.apart else None
    with started(step.name, command, url, f"{url}/healthz", pinned) as process:
        yield Served(model, process, scene.cores, ())
