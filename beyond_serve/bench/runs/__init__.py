"""Run folders: what an experiment leaves behind, and everything that is drawn from it afterwards."""
