"""The report: whole in one file, escaped, and readable in light and dark."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from beyond_serve.bench.report import Verdict
from beyond_serve.bench.runs.folder import RunFolder
from beyond_serve.bench.runs.html import inline_svg
from beyond_serve.bench.runs.plots.stages import StageBar, stage_bars
from beyond_serve.bench.runs.render import Content, footer_line, render, simulated_mark
from beyond_serve.bench.runs.style import INK, house_style
from beyond_serve.bench.runs.tables import Table

EVIL = "<script>alert('x')</script> & \"quotes\""


class Tags(HTMLParser):
    """Which elements are open, so that each is closed in turn; and which attributes fetch something."""

    VOID = frozenset({"meta", "br", "link", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.ids: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href") and not (value or "").startswith("#"):
                self.fetched.append(value or "")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def drawn(tmp_path: Path) -> tuple[str, Tags]:
    run = RunFolder.create(tmp_path, "fake", {"flag": EVIL}, 0, [EVIL])
    run.add_point({"labels": {}, "simulated": True})
    run.finish("interrupted", ["a note"])
    with house_style():
        bars = [StageBar(EVIL, {"decode": 1.0, "infer": 2.0})]
        figures = [stage_bars(name, EVIL, bars, caption=EVIL) for name in ("one", "two")]
        content = Content(
            EVIL,
            figures,
            [Table(EVIL, (EVIL, "b"), [(EVIL, 1.5)], [EVIL])],
            [Verdict(EVIL, EVIL, EVIL, met=False)],
            Table("Published", ("what", "ours"), [(EVIL, None)]),
        )
        text = render(run, content).read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    return text, tags


def test_the_page_is_whole(drawn: tuple[str, Tags]) -> None:
    _, tags = drawn
    assert tags.open == []
    assert {"svg", "figure", "table", "caption"} <= tags.seen
    assert len(set(tags.ids)) == len(tags.ids)


def test_nothing_is_fetched_and_nothing_runs(drawn: tuple[str, Tags]) -> None:
    text, tags = drawn
    assert tags.fetched == []
    assert "script" not in tags.seen
    assert "<script" not in text
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_the_page_says_what_it_shows(drawn: tuple[str, Tags]) -> None:
    text, _ = drawn
    for part in (
        "interrupted",
        "These figures are simulated",
        "a note",
        "not met",
        "Published",
        "prefers-color-scheme",
    ):
        assert part in text


def test_an_inline_figure_follows_the_theme() -> None:
    document = (
        f'<?xml version="1.0"?>\n<!DOCTYPE svg PUBLIC "x">\n<svg width="10pt" height="5pt"><!-- <b> -->'
        f'<path id="a" style="fill: {INK}; clip-path: url(#b)"/><use xlink:href="#a"/></svg>'
    )
    assert inline_svg(document, "n") == (
        '<svg width="100%" data-height="5pt"><path id="n-a" style="fill: var(--ink); clip-path: url(#n-b)"/>'
        '<use xlink:href="#n-a"/></svg>'
    )


def test_simulated_is_marked(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "fake", {}, 0)
    assert simulated_mark(run) == ""
    run.add_point({"labels": {}, "load": {"simulated": True}})
    assert simulated_mark(run) == "simulated"
    run.add_point({"labels": {}, "load": {"simulated": False}})
    assert simulated_mark(run) == "partly simulated"


def test_the_footer_names_machine_and_version(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "fake", {}, 0)
    run.finish("interrupted")
    line = footer_line(run)
    for part in (
        str(run.meta.machine["cpu"]),
        " cores",
        run.meta.versions["beyond-serve"],
        "fake, 20",
        "interrupted",
    ):
        assert part in line
