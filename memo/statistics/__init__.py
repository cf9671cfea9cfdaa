"""Estimates with intervals: over seeds, over networks, and of learning curves."""
