"""What a .pt2 file is, before PyTorch is imported."""

from __future__ import annotations

from pathlib import Path

from beyond_serve.engines.onnx_file import GraphFacts
from beyond_serve.engines.torch.aoti_file import read_compiled
from beyond_serve.engines.torch.archive import open_archive
from beyond_serve.engines.torch.exported_file import read_exported
from beyond_serve.engines.torch.facts import Pt2Facts


def read_facts(path: Path) -> GraphFacts:
    """
    Raises:
        ModelLoadError: the file is no .pt2 archive, or does not say what its inputs and outputs are.
    """
    return read_pt2(path).graph


def read_pt2(path: Path) -> Pt2Facts:
    """All that an AOTInductor package or an exported program says. Raises as `read_facts`."""
    archive = open_archive(path)
    return read_compiled(archive) if archive.kind == "aoti" else read_exported(archive)
