"""Hydra applications: composing a configuration, training what it asks for, analysing it."""
