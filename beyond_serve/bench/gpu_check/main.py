"""`scripts/gpu-check`: checks and measures the GPU engines, prints a table, writes a report folder."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from beyond_serve.bench.gpu_check import report
from beyond_serve.bench.gpu_check.launch import launch
from beyond_serve.bench.gpu_check.listing import listing
from beyond_serve.bench.gpu_check.part import PARTS, Has, Part, chosen, has_module
from beyond_serve.bench.gpu_check.plan import Budget, Ended, Outcome, exit_status, run_parts
from beyond_serve.bench.gpu_check.site import Site
from beyond_serve.bench.termination import terminated_as_interrupted
from beyond_serve.engines.cuda.probe import Driver, driver
from beyond_serve.errors import BeyondError

PASSED, FAILED, NO_GPU, INTERRUPTED = 0, 1, 2, 130
BUDGET_S, QUICK_S = 470.0, 85.0
_EXITS = """exit codes:
  0  every check was met (parts may have been skipped, each with its reason)
  1  a check was not met, or a part failed
  2  no GPU, or nothing could be written; 130  interrupted"""


@dataclass(frozen=True, slots=True)
class World:
    """What the command finds here; tests have another one."""

    driver: Callable[[], Driver] = driver
    has: Has = has_module
    launch: Callable[[Part, Site], Ended] = launch
    clock: Callable[[], float] = time.monotonic


def main(arguments: Sequence[str] | None = None, world: World | None = None) -> None:
    """Entry point. Exits with one of the codes of `--help`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    given = parser().parse_args(words)
    try:
        with terminated_as_interrupted():
            code = check(given, words, world or World())
    except BeyondError as error:
        print(f"gpu-check: {error.message}{'; ' + error.hint if error.hint else ''}", file=sys.stderr)
        code = NO_GPU
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        report.COMMAND,
        description=__doc__,
        epilog=f"{_EXITS}\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument(
        "--output",
        metavar="FOLDER",
        help="where the report is written (default: results/ and the GPU's name)",
    )
    found.add_argument(
        "--quick", action="store_true", help="a smoke test, under 90 s: the smallest model only"
    )
    found.add_argument(
        "--only",
        action="append",
        default=[],
        choices=[part.name for part in PARTS],
        help="this part, and what it needs; repeatable",
    )
    found.add_argument(
        "--budget-s", type=float, metavar="S", help="seconds for everything (default: 470; 85)"
    )
    found.add_argument("--device", type=int, default=0, metavar="N", help="which GPU (default: 0)")
    found.add_argument(
        "--dry-run", action="store_true", help="say what would be done and skipped here, and why"
    )
    return found


def check(given: argparse.Namespace, words: Sequence[str], world: World) -> int:
    """Do what was asked; the exit code.

    Raises:
        BeyondError: the report cannot be written.
    """
    parts, found = chosen(given.only), world.driver()
    there = given.device < len(found.devices)
    why = "" if there else found.why_not or f"this machine has no GPU {given.device}"
    if given.dry_run:
        print("\n".join(listing(parts, world.has, why, quick=given.quick)))
        return PASSED
    if not there:
        print(f"gpu-check: {why}; nvidia-smi says what the driver sees, --dry-run what would be checked")
        return NO_GPU
    name = found.devices[given.device]
    folder = Path(given.output) if given.output else Path("results", report.slug(name))
    return _measure(given, words, parts, folder, name, world)


def _measure(
    given: argparse.Namespace,
    words: Sequence[str],
    parts: Sequence[Part],
    folder: Path,
    device: str,
    world: World,
) -> int:
    about = report.about(device, words)
    budget = Budget(given.budget_s or (QUICK_S if given.quick else BUDGET_S), world.clock)
    outcomes: list[Outcome] = []
    # Before anything is measured: a folder that cannot be written is better known now.
    report.write_report(folder, outcomes, about, "running")

    def say(part: Part, outcome: Outcome | None) -> None:
        if outcome is None:
            print(f"{part.name}: {part.title} ...", flush=True)
            return
        print("\n".join(_summary(outcome)), flush=True)
        report.write_report(folder, outcomes, about, "running")

    with tempfile.TemporaryDirectory(prefix="gpu-check-") as work:
        start = partial(_launch, given, Path(work), world)
        stopped = run_parts(parts, world.has, start, budget, quick=given.quick, done=outcomes, say=say)
    report.write_report(folder, outcomes, about, "interrupted" if stopped else "complete")
    _print_tables(outcomes)
    print(f"{folder / 'report.md'}")
    return INTERRUPTED if stopped else exit_status(outcomes)


def _launch(given: argparse.Namespace, work: Path, world: World, part: Part, limit_s: float) -> Ended:
    return world.launch(part, Site(given.device, work, given.quick, limit_s, world.clock()))


def _summary(outcome: Outcome) -> list[str]:
    lines = [f"  {outcome.status} in {outcome.seconds:.1f} s{': ' + outcome.why if outcome.why else ''}"]
    for check in outcome.findings.checks:
        mark = "met    " if check.met else "NOT MET"
        lines.append(f"  {mark} {check.what}: asked {check.asked}, measured {check.measured}")
    return lines


def _print_tables(outcomes: Sequence[Outcome]) -> None:
    for table in (
        *(table for outcome in outcomes for table in outcome.findings.tables),
        report.skips_table(outcomes),
        report.checks_table(outcomes),
        report.parts_table(outcomes),
    ):
        if table.rows:
            print("\n".join(("", table.title, *report.text(table), *table.notes)))
    print()
