"""A machine for the scripts to run on: their own checkout, and a PATH of chosen commands."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = ["bash", "cat", "cp", "cut", "dirname", "env", "find", "flock", "grep"]
TOOLS += ["mkdir", "sed", "sha256sum", "sort", "tail", "tee", "touch", "xargs"]
BUILD_TOOLS = ("g++", "make", "cmake", "nasm")

# Answers what the scripts ask of Python. $MACHINE holds the switches: a file's presence turns one on.
FAKE_PYTHON = """#!{bash}
echo "$*" >>"$MACHINE/python-calls"
case "$1 $2" in
    "-c import sys; sys.exit"*) [ ! -e "$MACHINE/old-python" ] ;;
    "-c import sys; print"*) echo 3.11 ;;
    "-c import ensurepip, venv") [ ! -e "$MACHINE/no-venv" ] ;;
    "-c import sysconfig"*) echo "$MACHINE" ;;
    "-m venv")
        mkdir -p "$4/bin"
        cp "$0" "$4/bin/python"
        echo "version = 3.11.2" >"$4/pyvenv.cfg"
        ;;
    "-m pip")
        [ ! -e "$MACHINE/pip-says" ] || {{ cat "$MACHINE/pip-says"; exit 1; }}
        echo "Successfully installed"
        ;;
    --version*) echo "Python 3.9.2" ;;
esac
"""


class Machine:
    """`root` is the checkout, `switches` turns the fakes' behaviour on, `path` is all that the PATH holds."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "checkout"
        self.switches = folder / "switches"
        self.path = folder / "bin"
        for made in (self.root / "scripts", self.root / "beyond_serve" / "demo", self.switches, self.path):
            made.mkdir(parents=True)
        for script in ("setup", "serve", "test"):
            shutil.copy(ROOT / "scripts" / script, self.root / "scripts" / script)
        (self.root / "pyproject.toml").write_text("[project]\n")
        (self.root / "beyond_serve" / "demo" / "digits.onnx").touch()
        (self.switches / "Python.h").touch()
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found is not None, tool
            (self.path / tool).symlink_to(found)
        for tool in BUILD_TOOLS:
            self.command(tool, "")
        self.command("id", "echo 0")
        self.program(self.path / "python3", FAKE_PYTHON.format(bash=shutil.which("bash")))

    def command(self, name: str, body: str) -> None:
        """Puts a command on the PATH."""
        self.program(self.path / name, f"#!{shutil.which('bash')}\n{body}\n")

    def program(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / "scripts" / script, *arguments],
            env={"PATH": str(self.path), "MACHINE": str(self.switches), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def pip_calls(self) -> list[str]:
        """The arguments of every pip so far."""
        calls = self.switches / "python-calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        return [line for line in lines if line.startswith("-m pip")]
