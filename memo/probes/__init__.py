"""Measurements on trained networks. A new probe is one module here and one entry in PROBES.

A probe is a function `measure(networks: Networks) -> dict[str, numpy array]`: columns of equal length, one row for
each thing it measures on each network, with a column `network` (the position in the population) to name whose it is.
"""

from memo.probes import confidence, noise_samples

PROBES = {"confidence": confidence.measure, "noise_samples": noise_samples.measure}
