"""`scripts/gpu-check`: are the GPU engines right and fast here? One command, one report folder.

main, listing              the command; what would be skipped
part, plan, launch         the parts, their order and time; each in a process of its own
child, site, recorder      inside that process
findings, figures          what parts find, and against what
report                     report.json and report.md
parts/                     what is measured

Runs where little is installed: nothing here imports what a bare CUDA machine lacks before it is needed.
"""
