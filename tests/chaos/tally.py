"""What came of every request, counted; and what should not have come of any."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from rich.table import Table

from tests.chaos.cases import Case, Reply, fault

_SHOWN = 20


@dataclass
class Tally:
    """State: counts and faults. Owned by the run.

    Attributes:
        outcomes: by (transport, kind, "ok" or the error's code).
        abandoned: by (transport, where the client left).
        faults: each a sentence; a run with one has failed.
        images_ok: by model, of requests that were answered with a result.
        images_unknown: by model, of requests whose success the client may not have heard of.
        slowest_over_s: by how much the slowest answer came after its deadline.
    """

    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    abandoned: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    images_ok: Counter[str] = field(default_factory=Counter)
    images_unknown: Counter[str] = field(default_factory=Counter)
    slowest_over_s: float = float("-inf")

    def answered(self, transport: str, case: Case, reply: Reply, took_s: float) -> None:
        self.outcomes[transport, case.kind, reply.error or "ok"] += 1
        if reply.error:
            # Of several images some may have succeeded; and a client's own deadline may hide a success.
            self.images_unknown[case.model] += len(case.images)
        else:
            self.images_ok[case.model] += len(case.images)
        self.slowest_over_s = max(self.slowest_over_s, took_s - case.deadline_s)
        wrong = fault(case, reply)
        if wrong is not None:
            self.faults.append(f"{transport}: {wrong}")

    def unanswered(self, transport: str, case: Case, why: str) -> None:
        self.outcomes[transport, case.kind, "NO ANSWER"] += 1
        self.images_unknown[case.model] += len(case.images)
        self.faults.append(f"{transport}: a {case.kind} request was not answered: {why}")

    def left(self, transport: str, where: str, case: Case) -> None:
        self.abandoned[transport, where] += 1
        self.images_unknown[case.model] += len(case.images)

    @property
    def requests(self) -> int:
        return self.outcomes.total()

    def successes(self, transport: str) -> int:
        return sum(
            n for (name, _, outcome), n in self.outcomes.items() if name == transport and outcome == "ok"
        )

    def tables(self) -> tuple[Table, Table]:
        """Answers by outcome, for each kind of request and for each transport."""
        title = f"{self.requests:,} requests answered or not, {self.abandoned.total():,} more abandoned"
        return self._table(title, "request", 1), self._table("", "transport", 0)

    def _table(self, title: str, what: str, by: int) -> Table:
        counts: Counter[tuple[str, str]] = Counter()
        for key, count in self.outcomes.items():
            counts[key[by], key[2]] += count
        columns = sorted({outcome for _, outcome in counts}, key=lambda name: (name != "ok", name))
        table = Table(title=title)
        table.add_column(what)
        for column in columns:
            table.add_column(column.replace("_", " "), justify="right")
        for row in sorted({name for name, _ in counts}):
            shown = [f"{counts[row, column]:,}" if counts[row, column] else "" for column in columns]
            table.add_row(row, *shown)
        return table

    def abandoned_table(self) -> Table:
        table = Table(title="Abandoned by their clients")
        table.add_column("transport")
        table.add_column("where")
        table.add_column("requests", justify="right")
        for (transport, where), count in sorted(self.abandoned.items()):
            table.add_row(transport, where, f"{count:,}")
        return table

    def shown_faults(self) -> str:
        more = len(self.faults) - _SHOWN
        return "\n".join([*self.faults[:_SHOWN], *([f"and {more} more"] if more > 0 else [])])
