"""The arithmetic of `beyond-bench decoders`, and that every way of decoding makes the same picture."""

from __future__ import annotations

import numpy as np
import pytest

from beyond_serve.bench import images
from beyond_serve.bench.decoder_peers import peers, shape_of
from beyond_serve.bench.decoders import ENTROPY, OURS, REGION, SPECS, psnr, verdicts
from beyond_serve.preprocess.native import available
from tests.preprocess.native.jpegs import encode, picture


def timings(ours: float) -> dict[tuple[str, str], float]:
    return {
        (OURS, "exact"): ours, (OURS, "fast"): ours, ("A", "exact"): 3.0, ("B", "exact"): 2.0,
        ("A", "fast"): 1.5, (ENTROPY, ""): 1.0, (REGION, "exact"): 1.2, (REGION, "fast"): 1.1,
    }  # fmt: skip


def test_all_figures_met() -> None:
    assert all(verdict.met for verdict in verdicts({spec.name: timings(0.7) for spec in SPECS}))


def test_no_figure_met() -> None:
    assert not any(verdict.met for verdict in verdicts({spec.name: timings(2.9) for spec in SPECS}))


def test_best_peer_is_the_fastest_of_the_same_fidelity() -> None:
    found = verdicts({spec.name: timings(1.0) for spec in SPECS})
    beats = [verdict for verdict in found if verdict.what.startswith(images.MEDIUM.name + ", exact, against")]
    assert [verdict.measured for verdict in beats] == ["2.00 (B)"]


def test_psnr() -> None:
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    assert psnr(black, black) == float("inf")
    assert psnr(black, white) == pytest.approx(0)


@pytest.mark.skipif(not available(), reason="the native core is not built here")
def test_every_peer_makes_the_same_picture() -> None:
    data = encode(picture(700, 560, noise=0), quality=92)
    shape = shape_of(data)
    found = {(peer.name, peer.fidelity): peer.run(data, shape).copy() for peer in peers()}
    wanted = found["Pillow", "exact"]
    for key, pixels in found.items():
        assert psnr(pixels, wanted) > 35, key
    np.testing.assert_array_equal(found[OURS, "exact"], wanted)
