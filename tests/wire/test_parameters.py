from __future__ import annotations

import pytest

from beyond_serve.errors import InvalidRequestError
from beyond_serve.wire.oip import RegionSlice
from beyond_serve.wire.parameters import flag_parameter, integer_parameter, region_parameter


def test_what_is_absent_is_none() -> None:
    assert integer_parameter({}, "n", "t") is None
    assert flag_parameter({}, "n", "t") is None
    assert region_parameter({"other": 1}, "t") is None


@pytest.mark.parametrize("value", [-1, 1.0, True, "1", None, 2**63, []])
def test_an_integer_is_an_integer(value: object) -> None:
    with pytest.raises(InvalidRequestError, match="t: parameter 'n'"):
        integer_parameter({"n": value}, "n", "t")


@pytest.mark.parametrize("value", [0, 1, "true", None])
def test_a_flag_is_a_boolean(value: object) -> None:
    with pytest.raises(InvalidRequestError, match=r"parameter .n. is"):
        flag_parameter({"n": value}, "n", "t")


def test_a_region_needs_its_name_and_size() -> None:
    full = {"shared_memory_region": "r", "shared_memory_byte_size": 8, "shared_memory_offset": 4}
    assert region_parameter(full, "t") == RegionSlice("r", 4, 8)
    assert region_parameter({k: full[k] for k in list(full)[:2]}, "t") == RegionSlice("r", 0, 8)
    for wrong in (
        {"shared_memory_region": "r"},
        {"shared_memory_byte_size": 8},
        {"shared_memory_offset": 8},
        full | {"shared_memory_region": 1},
        full | {"shared_memory_region": ""},
        full | {"shared_memory_offset": -1},
        full | {"shared_memory_byte_size": "8"},
    ):
        with pytest.raises(InvalidRequestError):
            region_parameter(wrong, "t")
