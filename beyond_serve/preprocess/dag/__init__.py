"""Preprocessing as a graph of operations: checked before it runs, optimised, explained (SMOL, 6.2)."""
