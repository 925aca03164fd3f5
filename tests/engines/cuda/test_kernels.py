"""What `Kernels` hands over is what the kernels in kernels.cu take."""

from __future__ import annotations

import ctypes

import numpy as np

from beyond_serve.engines.cuda.kernels import NAMES, NORMALISED, RANKED
from tests.engines.cuda.cpu_kernels import Device
from tests.engines.cuda.kernel_inputs import image_input, pixels, stored


def test_arguments_are_those_of_the_kernels(library: ctypes.CDLL) -> None:
    device = Device(library)
    for datatype in NORMALISED:
        for image in (
            image_input(datatype),
            image_input(datatype, "NHWC"),
            image_input(datatype, channels=1),
        ):
            device.normalise(pixels(1, image.size, 0), image)
    for datatype in RANKED:
        device.rank(stored(np.zeros((1, 3), np.float32), datatype), 2, datatype=datatype, probabilities=False)
    assert {name for name, *_ in device.runtime.launched} == set(NAMES)
    for name, letters, *_ in device.runtime.launched:
        assert library.signature(name.encode()).decode() == letters
