"""What is sent, and what may come back for it. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import poison

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

BUSY = frozenset(("queue_full", "instance_lost"))
"""Errors of a server that has too much to do or has just lost an instance: allowed for everything."""

ROWS_TIMEOUT_MS = 3000.0
"""The deadline that the server gives to requests for the overloaded model that bring none."""

LONGEST_S = 5.0
"""In which a request without a deadline must be answered: far above what a full queue and a restart take."""


@dataclass(frozen=True)
class Case:
    """One request.

    Attributes:
        kind: how the report names it.
        images: encoded; one, or several that succeed or fail together.
        right: the class of each image in a right answer; empty where none is right.
        errors: codes of the errors that are right, beside those of `BUSY`, and of a missed deadline.
        timeout_ms: sent with the request; 0 leaves the server's default for the model, which may be none.
    """

    kind: str
    model: str
    images: tuple[bytes, ...]
    right: tuple[int, ...] = ()
    errors: frozenset[str] = frozenset()
    timeout_ms: float = 0.0
    priority: int = 0

    @property
    def has_deadline(self) -> bool:
        """Without one a request that the server lost cannot pass for one that was late."""
        return self.timeout_ms > 0 or self.model == "rows"

    @property
    def deadline_s(self) -> float:
        """By when an answer must have left."""
        if not self.has_deadline:
            return LONGEST_S
        return (self.timeout_ms or ROWS_TIMEOUT_MS) / 1000


@dataclass(frozen=True)
class Reply:
    """An answer, whatever brought it. error: its code, "" for a success with `classes`, one per image."""

    error: str
    classes: tuple[int, ...] = ()
    said: str = ""


def fault(case: Case, reply: Reply) -> str | None:
    """What is wrong about the reply; None if it may answer the case."""
    if reply.error:
        late = case.has_deadline and reply.error == "deadline_exceeded"
        if late or reply.error in case.errors or reply.error in BUSY:
            return None
        return f"a {case.kind} request got the error '{reply.error}': {reply.said}"
    if not case.right:
        return f"a {case.kind} request succeeded, with {list(reply.classes)}"
    if reply.classes != case.right:
        return f"a {case.kind} request got {list(reply.classes)} in place of {list(case.right)}"
    return None


def _lying(jpeg: bytes) -> bytes:
    """A JPEG whose header claims 65500x65500 pixels."""
    start = jpeg.index(b"\xff\xc0")
    return jpeg[: start + 5] + b"\xff\xdc\xff\xdc" + jpeg[start + 9 :]


class Deck:
    """Deals cases. State: the seeded choices; a deck belongs to one sender, so that they do not depend on
    which sender comes first."""

    def __init__(self, seed: str) -> None:
        self._rng = random.Random(seed)
        self._digits = [(EXAMPLES / f"{name}.jpg").read_bytes() for name in DIGITS]

    def rows(self) -> Case:
        """A request to the overloaded model: mostly good, some poisonous, bad or in too great a hurry."""
        rng = self._rng
        chance = rng.random()
        if chance < 0.04:
            image = poison.image(poison.random_number(rng), poisonous=True)
            return self._urged(Case("poison", "rows", (image,), errors=frozenset(("engine",))))
        if chance < 0.10:
            return self._urged(self._bad("rows"))
        if chance < 0.14:
            number = poison.random_number(rng)
            return Case("hurried", "rows", (poison.image(number),), (number,), timeout_ms=rng.choice((1, 5)))
        count = rng.choice((2, 5)) if chance < 0.2 else 1
        numbers = [poison.random_number(rng) for _ in range(count)]
        kind = "good" if count == 1 else "good, several"
        return self._urged(Case(kind, "rows", tuple(map(poison.image, numbers)), tuple(numbers)))

    def digits(self) -> Case:
        """A request to the demo model."""
        if self._rng.random() < 0.06:
            return self._urged(self._bad("digits"))
        digit = self._rng.randrange(10)
        return self._urged(Case("good", "digits", (self._digits[digit],), (digit,)))

    def any(self) -> Case:
        return self.rows() if self.chance(0.6) else self.digits()

    def chance(self, probability: float) -> bool:
        return self._rng.random() < probability

    def pick(self, options: Sequence[str]) -> str:
        return self._rng.choice(options)

    def seconds(self, most: float) -> float:
        return self._rng.uniform(0, most)

    def gap_s(self, rate: float) -> float:
        """To the next arrival of a Poisson stream."""
        return self._rng.expovariate(rate)

    def _urged(self, case: Case) -> Case:
        timeout_ms = self._rng.choice((0.0, 0.0, 1500.0, 400.0, 100.0))
        return Case(
            case.kind,
            case.model,
            case.images,
            case.right,
            case.errors,
            timeout_ms,
            self._rng.choice((0, 0, 1, 2, 3)),
        )

    def _bad(self, model: str) -> Case:
        jpeg = self._rng.choice(self._digits)
        kind, image, error = self._rng.choice(
            (
                ("truncated", jpeg[: len(jpeg) // 2], "image_decode"),
                ("empty", b"", "unsupported_image"),
                ("lying", _lying(jpeg), "payload_too_large"),
                ("no image", b"this is no image", "unsupported_image"),
            )
        )
        return Case(kind, model, (image,), errors=frozenset((error,)))
