"""Known image classifiers as ONNX files that the server serves at once, with their cost measured.

`catalogue` → `load` (a checkpoint, a hub, or seeded random weights) → `onnx_graph` → `verify` → `export`,
which writes the files.
Only what builds and exports needs torch (the `export` extra); it is imported when it is used.
"""
