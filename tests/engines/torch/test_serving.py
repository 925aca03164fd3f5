"""The real commands: a .pt2 file is built, served and asked."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end.serving import EXAMPLES, ROOT, curl, refused, serving
from tests.engines.torch.archives import our_own

torch = pytest.importorskip("torch")

from tests.engines.torch import networks  # noqa: E402
from tests.engines.torch.extra import needs_compiler  # noqa: E402
from tests.zoo.extra import needs_transformers  # noqa: E402

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
SIDECAR = "[preprocess]\nresize = 'exact'\nsize = [12, 16]\n"


@needs_compiler
@needs_curl
@needs_transformers
def test_built_by_one_command_and_served_by_another(tmp_path: Path) -> None:
    output = tmp_path / "tiny.pt2"
    arguments = [
        "build",
        "mobilenet-v2",
        "-o",
        str(output),
        "--device",
        "cpu",
        "--weights",
        "random",
        "--size",
        "64",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "beyond_serve.server.models_command", *arguments, "--max-batch", "4"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with serving("--model", str(output), "--max-batch", "4") as server:
        assert any("torch bf16 on cpu" in line for line in server.said)
        status, body = curl("-T", str(EXAMPLES / "seven.jpg"), f"{server.http}/predict?trace=1")
    assert status == 200
    answer = json.loads(body)
    assert len(answer["predictions"]) == 5
    assert answer["trace"]["stages_us"]["infer"] > 0


@needs_curl
def test_an_exported_file_answers_tensors_and_images_alike(tmp_path: Path) -> None:
    module = networks.Conv(tmp_path)
    source = networks.save(tmp_path / "conv.pt2", networks.program(module))
    (tmp_path / "conv.toml").write_text(SIDECAR)
    rows = np.random.default_rng(0).standard_normal((2, 3, 12, 16), dtype=np.float32)
    request = {
        "inputs": [
            {"name": "pixels", "datatype": "FP32", "shape": [2, 3, 12, 16], "data": rows.ravel().tolist()}
        ]
    }
    with serving("--model", source, "--device", "cpu") as server:
        url = f"{server.http}/v2/models/conv/infer"
        status, body = curl("-d", json.dumps(request), url)
    assert status == 200, body
    (output,) = [entry for entry in json.loads(body)["outputs"] if entry["name"] == "logits"]
    found = np.array(output["data"]).reshape(2, 5)
    np.testing.assert_allclose(found, networks.answers(module, rows), rtol=1e-4, atol=1e-5)


def test_what_cannot_be_served_is_one_line(tmp_path: Path) -> None:
    truncated = our_own(tmp_path / "truncated.pt2").read_bytes()[:300]
    (tmp_path / "truncated.pt2").write_bytes(truncated)
    torch.save({"w": torch.zeros(3)}, tmp_path / "checkpoint.pt2")
    our_own(tmp_path / "gpu.pt2")
    for name, complaint in (
        ("truncated", "is truncated"),
        ("checkpoint", "is a checkpoint"),
        ("gpu", "was compiled for cuda of compute capability 9.0, and the device is cpu"),
    ):
        status, said = refused("--model", str(tmp_path / f"{name}.pt2"), "--device", "cpu")
        assert status == 2
        assert complaint in said
        assert len(said.strip().splitlines()) == 1, said
