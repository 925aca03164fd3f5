"""What every engine on an NVIDIA GPU shares: devices, memory, streams, graphs, and what runs batches."""
