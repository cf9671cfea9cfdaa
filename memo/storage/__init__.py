"""Run folders: sweeps, checkpoints, provenance, trackers."""
