"""What `beyond-models describe` says of a file that was compiled: for what, and where it would run here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from beyond_serve.engines.choice import choose
from beyond_serve.engines.describe import ModelDescription
from beyond_serve.errors import ModelLoadError
from beyond_serve.server.device_list import with_card

Row = tuple[str, str]


def compiled_rows(description: ModelDescription) -> Iterator[Row]:
    """Of a TensorRT plan or a .pt2 file; of others nothing."""
    if description.format == "plan":
        yield from _plan_rows(Path(description.source))
    elif description.format == "pt2":
        yield from _pt2_rows(Path(description.source))


def place_rows(description: ModelDescription) -> Iterator[Row]:
    """The engine and the device that `auto` chooses on this machine."""
    if description.format in ("null", "sim"):
        return
    try:
        choice = choose(description.source, "auto", "auto")
    except ModelLoadError as error:
        yield "runs here", f"no: {error.message}"
    else:
        yield "runs here", f"{choice.engine} on {with_card(choice.device)}"


def _plan_rows(path: Path) -> Iterator[Row]:
    from beyond_serve.engines.tensorrt.describe import read_plan

    facts = read_plan(path)
    for profile in facts.profiles:
        yield f"profile {profile.index}", f"{_shape(profile.least)} to {_shape(profile.most)}"
    built = facts.stamp
    yield (
        "computes in",
        built.precision if built is not None else "what its builder chose (not said)",
    )


def _pt2_rows(path: Path) -> Iterator[Row]:
    from beyond_serve.engines.torch.describe import read_pt2

    facts = read_pt2(path)
    yield "computes in", facts.precision
    compute = f" (compute capability {facts.capability[0]}.{facts.capability[1]})" if facts.capability else ""
    version = f", by PyTorch {facts.torch}" if facts.torch else ""
    yield "compiled for", f"{facts.device}{compute}{version}"
    if facts.max_batch is not None:
        yield "largest batch", str(facts.max_batch)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
