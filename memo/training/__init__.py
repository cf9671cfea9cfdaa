"""Populations of networks: planned, laid out on a machine, trained and measured."""
