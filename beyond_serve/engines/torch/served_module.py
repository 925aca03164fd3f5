"""What the server's rows become before a network's own input, as part of the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from beyond_serve.preprocess.plan import Normalization


def served_module(torch: Any, network: Any, normalization: Normalization, dtype: Any) -> Any:
    """A torch.nn.Module from uint8 [n, H, W, 3] RGB to float32 logits, computing in `dtype`.

    `network` is taken over: its weights become `dtype`, and those of convolutions lie channels last, as the
    pixels do. Pixels are normalised in float32, as on the host.
    """
    mean, std = (np.array(values, np.float64) for values in (normalization.mean, normalization.std))
    gain, offset = (
        torch.from_numpy(values.astype(np.float32)) for values in (normalization.scale / std, mean / std)
    )
    reverse = normalization.channel_order == "BGR"

    def forward(module: Any, image: Any) -> Any:
        values = image.flip(-1) if reverse else image
        values = values.to(torch.float32) * module.gain - module.offset
        logits = module.network(values.to(dtype).permute(0, 3, 1, 2))
        return logits.to(torch.float32)

    # Made here because PyTorch is imported only where it is needed.
    module = type("Served", (torch.nn.Module,), {"forward": forward})()
    module.network = network.to(dtype).to(memory_format=torch.channels_last)
    module.register_buffer("gain", gain)
    module.register_buffer("offset", offset)
    return module.eval()
