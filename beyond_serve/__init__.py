"""beyond-serve: an inference server for images that shows where the time goes."""

__version__ = "0.1.0"
