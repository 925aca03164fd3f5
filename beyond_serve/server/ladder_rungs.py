"""What the rungs of a `--ladder` are. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from beyond_serve.errors import ConfigError

_HINT = "for example --ladder exact,fast or --ladder exact,fast,model=small"


@dataclass(frozen=True, slots=True)
class Rung:
    """One plan: a fidelity of the model's own preprocessing, or another served model.

    Attributes:
        name: "exact", "fast" or "model=NAME", as traces and metrics show it.
    """

    name: str

    @property
    def model(self) -> str:
        """The other model's name; empty for a fidelity."""
        return self.name.removeprefix("model=") if self.name.startswith("model=") else ""


def parse_ladder(text: str) -> tuple[Rung, ...]:
    """The rungs of a `--ladder` value, best first; none for an empty one.

    Raises:
        ConfigError: fewer than two rungs, one twice, an unknown word, or a fidelity below a model.
    """
    if not text:
        return ()
    rungs = tuple(Rung(name.strip()) for name in text.split(","))
    for rung in rungs:
        if rung.name not in ("exact", "fast") and not rung.model:
            raise ConfigError(
                f"--ladder has the rung '{rung.name}', which is neither a fidelity nor a model", _HINT
            )
    if len(set(rungs)) < max(2, len(rungs)):
        raise ConfigError(f"--ladder '{text}' needs two different rungs or more", _HINT)
    if rungs[0].model or "" in [rung.model for rung in rungs[_first_model(rungs) :]]:
        raise ConfigError(f"--ladder '{text}' must name fidelities first, then models", _HINT)
    return rungs


def _first_model(rungs: tuple[Rung, ...]) -> int:
    return next((index for index, rung in enumerate(rungs) if rung.model), len(rungs))
