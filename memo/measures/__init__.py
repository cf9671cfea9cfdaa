"""Quantities of networks and images, as functions of arrays."""
