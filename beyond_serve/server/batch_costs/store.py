"""Tables of batch costs on disk: beside the model, or in the user's cache where that cannot be written."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beyond_serve.server.batch_costs.key import CostKey, key_from

log = logging.getLogger(__name__)

FORMAT = "beyond-serve batch costs 1"
MOST_TABLES = 16
"""Of one model, the oldest go first: a table for each way in which it was served. An invented number."""

Entries = dict[int, float]


@dataclass(frozen=True, slots=True)
class StoredTable:
    """One table: nanoseconds by batch size, and what they belong to."""

    key: CostKey
    entries: Entries


class CostStore:
    """The tables of one model, in `NAME.costs.json` beside it or under the user's cache directory.

    What cannot be read or written is logged in one line and otherwise as if it were not there. Files are
    replaced as a whole, so that a reader never meets half of one; of two servers that save at the same
    time one is lost, and measures again at its next start. Every method blocks. No state but the paths.
    """

    def __init__(self, model: Path, environ: Mapping[str, str] = os.environ) -> None:
        """model: its file."""
        beside = model.with_name(f"{model.stem}.costs.json")
        cache = _cache_folder(environ)
        self._files = [beside] if cache is None else [beside, cache / _cache_name(beside)]

    @property
    def path(self) -> Path:
        """The file that is tried first."""
        return self._files[0]

    def load(self, key: CostKey) -> Entries | None:
        """Nanoseconds by batch size as last saved for an equal `key`; None if there are none."""
        for table in self.tables():
            if table.key == key:
                return table.entries
        return None

    def tables(self) -> list[StoredTable]:
        """All that is stored, the newest first."""
        found: list[StoredTable] = []
        for file in sorted(self._files, key=_changed_ns, reverse=True):
            try:
                found += reversed(_read(file))
            except OSError as error:
                log.warning("the batch costs in '%s' cannot be read: %s", file, error.strerror)
            except ValueError as error:
                log.warning("the batch costs in '%s' are ignored: %s", file, error)
        return found

    def save(self, key: CostKey, entries: Mapping[int, float]) -> Path | None:
        """Keep `entries` for `key`, and drop those of other contents of its file; where they were
        written, None if nowhere.

        Args:
            entries: at least one, each at least a nanosecond.
        """
        new = StoredTable(key, dict(entries))
        reasons: list[str] = []
        for file in self._files:
            try:
                if file is not self.path:
                    file.parent.mkdir(parents=True, exist_ok=True)
                _write(file, [*_kept(file, key), new][-MOST_TABLES:])
            except OSError as error:
                reasons.append(f"{file}: {error.strerror}")
            else:
                return file
        log.warning("batch costs were not saved (%s); the next start measures again", "; ".join(reasons))
        return None


def _kept(file: Path, key: CostKey) -> list[StoredTable]:
    """What of `file` stays when a table for `key` is added: nothing of what cannot be read."""
    try:
        tables = _read(file)
    except (OSError, ValueError):
        return []
    # A file of the same stem (model.onnx, model.xml) has its tables in here too.
    return [
        old
        for old in tables
        if old.key != key and (old.key.model != key.model or old.key.content == key.content)
    ]


def _cache_folder(environ: Mapping[str, str]) -> Path | None:
    """By the XDG base directory specification; None for a user without a home."""
    named = environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(named):
        home = environ.get("HOME", "")
        if not os.path.isabs(home):
            return None
        named = os.path.join(home, ".cache")
    return Path(named) / "beyond-serve" / "costs"


def _cache_name(beside: Path) -> str:
    """Different for models of one name in different folders."""
    folder = hashlib.sha256(os.fsencode(beside.resolve().parent)).hexdigest()
    return f"{beside.name.removesuffix('.costs.json')}-{folder[:16]}.costs.json"


def _changed_ns(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _read(file: Path) -> list[StoredTable]:
    """The tables in `file`, none if there is no such file.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds something else.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return _parsed(document)


def _parsed(document: Any) -> list[StoredTable]:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"its format is not '{FORMAT}'")
    tables = document.get("tables")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ValueError("it has no list of tables")
    return [_table(table) for table in tables]


def _table(table: dict[str, Any]) -> StoredTable:
    key, entries = table.get("key"), table.get("ms")
    if not isinstance(key, dict) or not isinstance(entries, dict) or not entries:
        raise ValueError("a table lacks its key or its entries")
    return StoredTable(key_from(key), dict(_entry(size, ms) for size, ms in entries.items()))


def _entry(size: str, ms: Any) -> tuple[int, float]:
    if not (size.isascii() and size.isdigit() and 0 < int(size) < 1 << 31):
        raise ValueError(f"{size!r} is no batch size")
    # 1e12 ms are 30 years: what is larger, NaN or infinite was never measured.
    if isinstance(ms, bool) or not isinstance(ms, (int, float)) or not 0 < ms < 1e12:
        raise ValueError(f"{ms!r} is no time of a batch of {size}")
    return int(size), ms * 1e6


def _write(file: Path, tables: list[StoredTable]) -> None:
    """Raises OSError, and leaves nothing behind then."""
    document = {
        "format": FORMAT,
        "tables": [
            {
                "key": table.key.as_dict(),
                "ms": {str(size): round(ns / 1e6, 6) for size, ns in sorted(table.entries.items())},
            }
            for table in tables
        ],
    }
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        # Not flushed to the disk: a table that a power cut took is measured again.
        draft.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
