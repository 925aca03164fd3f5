"""The zip archive that a .pt2 file is: which kind it holds, read without PyTorch.

Layout as torch/export/pt2_archive/constants.py of PyTorch 2.9 and later has it.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from beyond_serve.errors import ModelLoadError

Kind = Literal["aoti", "export"]
"""AOTInductor's compiled package, or the exported program itself."""

PROGRAM = "models/model.json"
COMPILED = "data/aotinductor/model/"
EXTRA = "extra/"

_SAVE = "torch.export.save(torch.export.export(model, (example,)), 'NAME.pt2')"
_AGAIN = "copy, download or build it again; check its size"


@dataclass(frozen=True, slots=True)
class Archive:
    """names: of its files, without the folder that all lie in."""

    path: Path
    kind: Kind
    root: str
    names: frozenset[str]

    def read(self, name: str) -> bytes:
        """Raises ModelLoadError if that file is damaged."""
        try:
            with zipfile.ZipFile(self.path) as file:
                return file.read(f"{self.root}/{name}")
        except (OSError, zipfile.BadZipFile, KeyError) as error:
            raise ModelLoadError(f"'{self.path}' is damaged: {error}", _AGAIN) from error

    def json(self, name: str) -> dict[str, Any]:
        """Raises ModelLoadError if that file is damaged or no JSON object."""
        try:
            content = json.loads(self.read(name))
        except ValueError as error:
            raise ModelLoadError(f"'{self.path}' is damaged: {name} is no JSON", _AGAIN) from error
        if not isinstance(content, dict):
            raise ModelLoadError(f"'{self.path}' is damaged: {name} is no JSON object", _AGAIN)
        return content


def open_archive(path: Path) -> Archive:
    """
    Raises:
        ModelLoadError: no archive, a truncated one, or one that holds something else; says what.
    """
    try:
        with zipfile.ZipFile(path) as file:
            entries = file.namelist()
    except OSError as error:
        raise ModelLoadError(
            f"cannot read '{path}': {error.strerror or error}", "check the file's rights"
        ) from error
    except zipfile.BadZipFile as error:
        raise _no_zip(path) from error
    root = entries[0].partition("/")[0] if entries else ""
    names = frozenset(entry.removeprefix(f"{root}/") for entry in entries)
    if PROGRAM in names:
        return Archive(path, "export", root, names)
    if any(name.startswith(COMPILED) for name in names):
        return Archive(path, "aoti", root, names)
    raise _something_else(path, names | set(entries))


def _no_zip(path: Path) -> ModelLoadError:
    with path.open("rb") as file:
        start = file.read(2)
    if start == b"PK":
        return ModelLoadError(f"'{path}' is truncated: the end of the archive is missing", _AGAIN)
    if start == b"\x80\x02":
        return _checkpoint(path)
    return ModelLoadError(f"'{path}' is no PyTorch archive", f"write one with {_SAVE}")


def _something_else(path: Path, names: frozenset[str]) -> ModelLoadError:
    if "serialized_exported_program.json" in names:
        return ModelLoadError(
            f"'{path}' was exported by a PyTorch older than 2.9", f"export it again with a newer one: {_SAVE}"
        )
    if any(name.startswith("code/") for name in names):
        return ModelLoadError(
            f"'{path}' is a TorchScript file, which is not served", f"export the module instead: {_SAVE}"
        )
    if "data.pkl" in names:
        return _checkpoint(path)
    if any(name.startswith(("models/", "data/aotinductor/")) for name in names):
        return ModelLoadError(
            f"'{path}' holds several models, or one that is not named 'model'", "put one model into one file"
        )
    return ModelLoadError(f"'{path}' is a zip file without a PyTorch model", f"write one with {_SAVE}")


def _checkpoint(path: Path) -> ModelLoadError:
    return ModelLoadError(
        f"'{path}' is a checkpoint (torch.save): weights without the network that uses them",
        f"load it into its module and export that: {_SAVE}",
    )
