"""PyTorch: AOTInductor packages and exported programs, on CPU and CUDA."""
