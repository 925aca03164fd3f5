"""Which code it is that measures: two runs are compared by it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import beyond_serve


def own_version() -> str:
    """The version, and the commit where this runs from a repository and git is there."""
    root = Path(beyond_serve.__file__).parent.parent
    if not (root / ".git").exists():
        return beyond_serve.__version__
    try:
        described = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return beyond_serve.__version__
    return f"{beyond_serve.__version__} ({described.stdout.strip()})"
