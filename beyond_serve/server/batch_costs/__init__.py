"""l(n) of a served model: measured at its start, kept beside it, shown by `beyond-models describe`."""
