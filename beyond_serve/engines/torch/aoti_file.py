"""Read what an AOTInductor package says of itself: its metadata as JSON, without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping

from beyond_serve.engines.onnx_file import GraphFacts
from beyond_serve.engines.torch.archive import COMPILED, Archive
from beyond_serve.engines.torch.facts import METADATA_KEY, Built, Pt2Facts, built_from_json
from beyond_serve.engines.torch.sidecar import Described, read_described
from beyond_serve.errors import ModelLoadError

# PyTorch's names for what it compiles for (torch/_inductor/cpu_vec_isa.py), and the CPU's flag for each.
_FLAGS = {"avx2": "avx2", "avx512": "avx512f", "avx512_vnni": "avx512_vnni", "amx_tile": "amx_tile"}


def read_compiled(archive: Archive) -> Pt2Facts:
    """Our own builds describe themselves; others are described in the `[pt2]` table of NAME.toml.

    Raises:
        ModelLoadError: damaged, or nobody says what its inputs and outputs are.
    """
    metadata = _metadata(archive)
    capability = _capability(str(metadata.get("AOTI_COMPUTE_CAPABILITY", "")))
    isa = str(metadata.get("AOTI_CPU_ISA", "")).lower().split()
    if COMPILED + "weights_config.json" in archive.names:
        raise ModelLoadError(
            f"'{archive.path}' keeps its weights apart from its code, which is not served",
            "compile it without package_constants_on_disk",
        )
    built = _built(archive, metadata)
    if built is not None:
        graph = GraphFacts((built.input,), built.outputs, frozenset(built.probabilities), quantized=False)
        said = Described(graph, built.max_batch, built.precision)
    else:
        said = read_described(archive.path)
    return Pt2Facts(
        kind="aoti",
        graph=said.graph,
        precision=said.precision,
        device=built.device if built else str(metadata.get("AOTI_DEVICE_KEY", "cpu")),
        capability=built.capability if built else capability,
        platform=_platform(metadata),
        cpu_flags=tuple(_FLAGS[name] for name in isa if name in _FLAGS),
        max_batch=said.max_batch,
        torch=built.torch if built else "",
        described=built is None,
        normalises=built is not None and built.normalises,
        needs_torch_operators=any(_is_operator_list(name) for name in archive.names),
    )


def _metadata(archive: Archive) -> Mapping[str, object]:
    names = sorted(
        name for name in archive.names if name.startswith(COMPILED) and name.endswith("_metadata.json")
    )
    # Each compiled file has its own, alike in what is read here; the wrapper's is the package's.
    wanted = next((name for name in names if "wrapper" in name), names[0] if names else None)
    return {} if wanted is None else archive.json(wanted)


def _built(archive: Archive, metadata: Mapping[str, object]) -> Built | None:
    text = metadata.get(METADATA_KEY)
    if not isinstance(text, str):
        return None
    try:
        return built_from_json(text)
    except ValueError as error:
        raise ModelLoadError(f"'{archive.path}' cannot be used: {error}", "build it again") from error


def _capability(text: str) -> tuple[int, int] | None:
    return (int(text[:-1]), int(text[-1])) if len(text) >= 2 and text.isdigit() else None


def _platform(metadata: Mapping[str, object]) -> tuple[str, str] | None:
    system, machine = metadata.get("AOTI_PLATFORM"), metadata.get("AOTI_MACHINE")
    return (system, machine) if isinstance(system, str) and isinstance(machine, str) else None


def _is_operator_list(name: str) -> bool:
    """The file that names operators to be called by torch's dispatcher."""
    return (
        name.startswith(COMPILED)
        and name.endswith(".json")
        and not name.endswith(("_metadata.json", "_flags.json"))
    )
