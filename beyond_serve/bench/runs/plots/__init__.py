"""Building blocks that experiments draw their figures from."""
