"""Run folders and what fills them: sweeps, checkpoints, provenance, trackers."""
