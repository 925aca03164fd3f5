"""A ladder's plans: fidelities for all that wait, other models for what is new."""

from __future__ import annotations

import pytest

from beyond_serve.batching import Request, Trace
from beyond_serve.batching.ladder import HOLD_NS, SETTLE_NS
from beyond_serve.engines.slots import SlotArena
from beyond_serve.errors import ConfigError
from beyond_serve.server.fidelity_ladder import FidelityLadder
from beyond_serve.server.ladder_rungs import parse_ladder
from beyond_serve.server.stage import ImageLine, PreprocessStage
from tests.fakes.clock import FakeClock

BOUND = 10_000_000


class Small:
    """Another model."""

    def __init__(self, line: ImageLine) -> None:
        self.ready = True
        self.line: ImageLine | None = line


class World:
    def __init__(self, rungs: str) -> None:
        self.clock = FakeClock()
        self.wait_ns = 0
        stage = PreprocessStage(None, 1, self.clock)  # type: ignore[arg-type]
        arena = SlotArena(1, (2, 2, 3))
        self.line, other = (stage.line(name, arena, lambda _: None) for name in ("none", "own"))  # type: ignore[arg-type]
        self.small: Small | None = Small(other)
        self.ladder = FidelityLadder(
            parse_ladder(rungs),
            self.line,
            {"exact": "exactly", "fast": "fast and loose"},  # type: ignore[dict-item]
            self.clock,
            BOUND,
            lambda: self.wait_ns,
            lambda name: self.small if name == "small" else None,
        )

    def come(self, wait_ns: int, after_ns: int = SETTLE_NS) -> tuple[ImageLine, str]:
        """A new image: its line and the rung in its trace."""
        self.clock.advance(after_ns)
        self.wait_ns = wait_ns
        request = Request(b"", "image", Trace(0, 0), lambda _: None)
        return self.ladder.line_for(request), request.trace.rung


def test_a_step_between_fidelities_changes_the_lines_preprocessing() -> None:
    world = World("exact,fast")
    assert world.come(0) == (world.line, "")
    assert (world.line.preprocessor, world.line.rung) == ("exactly", "exact")
    world.come(BOUND + 1)
    assert (world.line.preprocessor, world.line.rung) == ("fast and loose", "fast")
    world.come(0)
    world.come(0, HOLD_NS)
    assert (world.line.preprocessor, world.line.rung) == ("exactly", "exact")
    assert world.ladder.served == {"exact": 2, "fast": 2}


def test_a_step_to_another_model_sends_new_images_to_its_line() -> None:
    world = World("exact,fast,model=small")
    world.come(BOUND + 1)
    assert world.small is not None
    assert world.come(BOUND + 1) == (world.small.line, "model=small")
    assert world.line.rung == "fast"
    assert world.ladder.served == {"fast": 1, "model=small": 1}


def test_a_model_that_cannot_serve_is_passed_over() -> None:
    world = World("exact,model=small")
    assert world.small is not None
    world.small.ready = False
    assert world.come(BOUND + 1) == (world.line, "")
    world.small = None
    assert world.come(BOUND + 1) == (world.line, "")
    assert world.ladder.served == {"exact": 2}


def test_rungs_are_fidelities_then_models() -> None:
    assert [rung.model for rung in parse_ladder("exact, fast,model=a,model=b")] == ["", "", "a", "b"]
    assert parse_ladder("") == ()


@pytest.mark.parametrize(
    "text", ["exact", "exact,exact", "quick,fast", "model=a,exact", "exact,model=", ",", "model=a,model=b"]
)
def test_other_ladders_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_ladder(text)
