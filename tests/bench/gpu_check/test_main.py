"""The command: exit codes, the report it leaves, and that it runs where little is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from beyond_serve.bench.gpu_check import main
from beyond_serve.bench.gpu_check.figures import Check
from beyond_serve.bench.gpu_check.findings import Findings
from beyond_serve.bench.gpu_check.part import PARTS, Part
from beyond_serve.bench.gpu_check.plan import Ended
from beyond_serve.bench.gpu_check.site import Site
from beyond_serve.engines.cuda.probe import Driver

ROOT = Path(__file__).parents[3]
H200 = Driver(("NVIDIA H200",), "")
ABSENT = [
    *("openvino", "tensorrt", "tensorrt_lean", "tensorrt_lean_bindings", "tensorrt_rtx", "nvidia", "orjson"),
    *("httptools", "simplejpeg", "hdrh", "jinja2", "matplotlib", "multipart", "grpc", "grpc_health"),
    *("grpc_reflection", "torch", "timm", "cupy", "cv2", "uvloop", "rich", "psutil", "prometheus_client"),
    "aiohttp",
]
WITHOUT = f"""
import sys
absent = {ABSENT!r}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""


def run(world: main.World, *arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main.main(arguments, world)
    assert isinstance(caught.value.code, int)
    return caught.value.code


class Script:
    """Launches that end at once, with checks that are met unless told otherwise."""

    def __init__(self, **ends: Ended) -> None:
        self.ends = ends
        self.sites: dict[str, Site] = {}

    def __call__(self, part: Part, site: Site) -> Ended:
        assert site.work.is_dir()
        self.sites[part.name] = site
        met = Findings(checks=[Check(f"{part.name} is right", "yes", "yes", True)], complete=True)
        return self.ends.get(part.name, Ended(0, met))

    def world(self, found: Driver = H200) -> main.World:
        return main.World(lambda: found, lambda module: True, self)


def test_all_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = Script()
    assert run(script.world(), "--output", str(tmp_path)) == 0
    assert list(script.sites) == [part.name for part in PARTS]
    assert not next(iter(script.sites.values())).work.exists()
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["status"] == "complete"
    assert found["machine"]["gpu"] == "NVIDIA H200"
    assert found["machine"]["command"] == f"scripts/gpu-check --output {tmp_path}"
    assert len(found["verdicts"]) == len(PARTS)
    shown = capsys.readouterr().out
    assert "met     batcher is right: asked yes, measured yes" in shown
    assert str(tmp_path / "report.md") in shown


def test_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(Script().world(), "--only", "machine") == 0
    assert (tmp_path / "results" / "nvidia-h200" / "report.md").is_file()


def test_a_check_that_is_not_met(tmp_path: Path) -> None:
    bad = Findings(checks=[Check("share", ">= 0.9", "0.8", False)], complete=True)
    script = Script(batcher=Ended(0, bad))
    assert run(script.world(), "--output", str(tmp_path)) == 1
    assert "NOT MET" in (tmp_path / "report.md").read_text()


def test_interrupted(tmp_path: Path) -> None:
    script = Script(engines=Ended(None, Findings(notes=["half way"]), "", interrupted=True))
    assert run(script.world(), "--output", str(tmp_path)) == 130
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["status"] == "interrupted"
    assert {part["part"]: part["why"] for part in found["parts"]}["http"] == "interrupted"
    assert "half way" in (tmp_path / "report.md").read_text()


def test_no_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = Script()
    world = script.world(Driver((), "NVIDIA's driver (libcuda.so.1) is not installed"))
    assert run(world, "--output", str(tmp_path)) == 2
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) == 1
    assert "libcuda.so.1" in shown
    assert not list(tmp_path.iterdir())
    assert run(script.world(), "--device", "1") == 2


def test_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    script = Script()
    assert run(script.world(), "--output", str(tmp_path / "file")) == 2
    assert "cannot write to" in capsys.readouterr().err
    assert not script.sites


def test_only_and_quick(tmp_path: Path) -> None:
    script = Script()
    assert run(script.world(), "--output", str(tmp_path), "--only", "steady", "--quick", "--device", "0") == 0
    assert list(script.sites) == ["models", "steady"]
    assert all(site.quick for site in script.sites.values())
    assert all(
        site.limit_s <= part.quick_s
        for part in PARTS
        for name, site in script.sites.items()
        if part.name == name
    )


def test_budget(tmp_path: Path) -> None:
    assert run(Script().world(), "--output", str(tmp_path), "--budget-s", "1") == 0
    found = json.loads((tmp_path / "report.json").read_text())
    assert {part["why"] for part in found["parts"]} == {"out of time"}


def test_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    world = main.World(lambda: Driver((), "no driver"), lambda module: module != "orjson", Script())
    assert run(world, "--dry-run") == 0
    shown = capsys.readouterr().out
    assert (
        "http      Over HTTP: one front-end process, uint8 tensors: skipped: no driver; not installed: orjson"
        in (shown)
    )


def test_unknown_part(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Script().world(), "--only", "nothing") == 2
    assert "invalid choice" in capsys.readouterr().err


def test_the_script_where_little_is_installed(tmp_path: Path) -> None:
    """The modules of the frame and of every part can be imported on a bare machine."""
    modules = sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "beyond_serve/bench/gpu_check").rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py")
    )
    code = f"{WITHOUT}\nimport importlib\nfor name in {modules!r}: importlib.import_module(name)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_dry_run_where_little_is_installed() -> None:
    code = f"{WITHOUT}\nfrom beyond_serve.bench.gpu_check.main import main\nmain(['--dry-run'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "not installed: torch" in done.stdout
    assert "Building the models" in done.stdout


def test_the_script_says_no_gpu() -> None:
    if main.World().driver().devices:
        pytest.skip("this machine has a GPU")
    done = subprocess.run(
        [ROOT / "scripts/gpu-check"],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert len(done.stdout.splitlines()) == 1
    assert done.stdout.startswith("gpu-check: ")


def test_the_script_says_what_python_it_needs() -> None:
    done = subprocess.run(
        [ROOT / "scripts/gpu-check"],
        env={**os.environ, "PYTHON": "false"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("gpu-check: false is not Python 3.11 or newer with numpy")
