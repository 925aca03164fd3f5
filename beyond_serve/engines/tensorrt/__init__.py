"""TensorRT plans: full, lean and RTX behind one adapter."""
