"""What a running experiment tells the one who waits for it."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


class Reporter:
    """A live line with a bar at a terminal, plain lines elsewhere.

    Attributes:
        notes: what `note` was given, in order; the frame writes it to the run folder.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self.notes: list[str] = []
        self._said = ""
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[detail]}", style="dim"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._task = self._progress.add_task("", total=None, detail="")

    def __enter__(self) -> Reporter:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def status(self, text: str) -> None:
        """What is being done now; replaces the status before."""
        self._progress.update(self._task, description=escape(text), detail="")
        if not self.console.is_terminal and text != self._said:
            self.console.print(text, style="dim", markup=False, highlight=False)
        self._said = text

    def progress(self, done: float, total: float | None, detail: str = "") -> None:
        """How far the run is, in any unit; `detail` stands beside the bar ("1,204 requests/s")."""
        self._progress.update(self._task, completed=done, total=total, detail=escape(detail))

    def say(self, text: str) -> None:
        """A line that stays on the screen."""
        self.console.print(text, markup=False, highlight=False)

    def note(self, text: str) -> None:
        """A line that stays on the screen and in the run's notes: what a reader of the figures must know."""
        self.notes.append(text)
        self.say(text)
