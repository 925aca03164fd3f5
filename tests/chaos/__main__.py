"""`python -m tests.chaos --seconds 120`: exit status 0 if nothing was wrong."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console

from tests.chaos.run import Chaos, run


def main() -> int:
    parser = argparse.ArgumentParser(description="Everything at once against the real server.")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long the load lasts")
    parser.add_argument("--seed", type=int, default=4, help="of what is sent, and who is killed")
    arguments = parser.parse_args()
    console = Console()
    with console.status("starting the server") as status:
        report = run(Chaos(arguments.seconds, arguments.seed), status.update)
    report.print(console)
    return 1 if report.tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
