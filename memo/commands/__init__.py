"""Hydra applications: composing a configuration, training its networks, analysing them."""
