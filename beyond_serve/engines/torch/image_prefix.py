"""What stands before a model that takes floats: uint8 rows of the host into the model's own input."""

from __future__ import annotations

from typing import Any

from beyond_serve.engines.image_input import LUMA, ImageInput

DTYPES = {
    "FP32": "float32", "FP16": "float16", "BF16": "bfloat16", "FP64": "float64", "UINT8": "uint8",
    "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64", "BOOL": "bool",
}  # fmt: skip
"""PyTorch's names of the Open Inference Protocol's types."""


class ImagePrefix:
    """Constants are made once; calls may come from several threads."""

    def __init__(self, torch: Any, image: ImageInput) -> None:
        self._torch = torch
        self._image = image
        self._dtype = getattr(torch, DTYPES[image.datatype])
        self._luma = torch.tensor(LUMA, dtype=torch.float32).reshape(3, 1)
        self._gain = None if image.gain is None else torch.from_numpy(image.gain)
        self._offset = None if image.offset is None else torch.from_numpy(image.offset)

    def __call__(self, rows: Any) -> Any:
        """
        Args:
            rows: uint8 [n, H, W, 3] RGB; left as they are.

        Returns:
            The model's input. In NCHW its memory stays channels last, which convolutions like best.
        """
        values = rows.flip(-1) if self._image.reverse else rows
        if self._image.channels == 1:
            values = values.to(self._torch.float32) @ self._luma
        if self._gain is not None and self._offset is not None:
            values = values.to(self._torch.float32) * self._gain - self._offset
        elif values.dtype != self._torch.uint8:
            # A cast to uint8 cuts off, so half a level first.
            values = values + 0.5
        values = values.to(self._dtype)
        return values.permute(0, 3, 1, 2) if self._image.layout == "NCHW" else values
