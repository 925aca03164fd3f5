"""Fig. 9's curves bend where their rates say."""

from __future__ import annotations

from typing import Any

import pytest

from beyond_serve.bench.simulate import multi_gpu
from beyond_serve.bench.simulate.multi_gpu import BEYOND_LIKE, CURVES, H200_LIKE, INFERENCE, Host
from beyond_serve.bench.simulate.simulation import simulate


def rates(host: Host, curve: str, *gpus: int) -> list[float]:
    return [simulate(multi_gpu._scenario(host, curve, n, True, 0)).throughput_per_s for n in gpus]


def test_inference_alone_is_linear() -> None:
    one, three = rates(BEYOND_LIKE, INFERENCE, 1, 3)
    assert one == pytest.approx(1778, rel=0.03)
    assert three == pytest.approx(3 * one, rel=0.03)


@pytest.mark.parametrize("curve", ["medium, CPU", "medium, GPU"])
def test_medium_images_are_bound_by_inference(curve: str) -> None:
    one, two = rates(BEYOND_LIKE, curve, 1, 2)
    assert two == pytest.approx(2 * one, rel=0.04)


def test_large_images_on_the_cpu_do_not_gain_by_gpus() -> None:
    assert rates(BEYOND_LIKE, "large, CPU", 1, 4) == [pytest.approx(300, rel=0.03)] * 2


def test_large_images_on_the_gpu_gain_by_the_second_and_little_by_more() -> None:
    one, two, four = rates(BEYOND_LIKE, "large, GPU", 1, 2, 4)
    assert two == pytest.approx(2 * one, rel=0.03)
    # 24 cores at 15 ms.
    assert four == pytest.approx(1600, rel=0.03)


def test_images_have_beyond_s_sizes_and_the_host_s_times() -> None:
    image = H200_LIKE.image("large, CPU")
    assert (image.bytes, image.width, image.height) == (9_528_000, 3564, 2880)
    assert (image.host_ms, image.device_ms) == (56.6, 0.0)
    on_gpu = H200_LIKE.image("medium, GPU")
    assert on_gpu.host_ms == 0.1
    assert 8e3 / on_gpu.device_ms == pytest.approx(15_500)


def test_quick_or_not_every_curve_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def kept(given: object, labels: dict[str, object]) -> dict[str, Any]:
        return {"labels": labels}

    monkeypatch.setattr(multi_gpu, "measure", kept)
    for quick, most in ((True, 8), (False, 64)):
        found = [point["labels"] for point in multi_gpu.figure_9(quick, 0)]
        assert {labels["curve"] for labels in found} == set(CURVES)
        assert max(labels["gpus"] for labels in found) == most
