"""Short form of the fuzzing: every seed of the corpus through the installed core, guards around the slot."""

from __future__ import annotations

import numpy as np
import pytest

from beyond_serve.errors import BeyondError
from beyond_serve.preprocess.native import NativeFlag, NativeParams, available, decode
from tests.fuzz.native_corpus import seeds

pytestmark = pytest.mark.skipif(not available(), reason="the native core is not built here")

GUARD = 512


@pytest.mark.parametrize(
    ("name", "data"), list(seeds()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_seed(name: str, data: bytes) -> None:
    for box in ((0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 40.0, 30.0), (3.5, 2.5, 17.0, 9.0)):
        for orientation, ratio, flags in ((1, 0.0, 1), (6, 1.0, 8), (3, 0.5, 4)):
            slab = np.full(20 * 16 * 3 + 2 * GUARD, 0xA5, np.uint8)
            params = NativeParams(*box, 40, 40, 3, 4, 20, 16, 1, orientation, ratio, NativeFlag(flags))
            try:
                decode(data, params, slab[GUARD:-GUARD])
            except BeyondError as error:
                assert error.message, name  # noqa: PT017
            assert (slab[:GUARD] == 0xA5).all()
            assert (slab[-GUARD:] == 0xA5).all()
