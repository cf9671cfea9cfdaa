"""Entry point: python -m experiments.noise_confidence."""

from experiments.noise_confidence.analysis import analyse
from memo.commands import experiment

if __name__ == "__main__":
    experiment.run("noise_confidence", analyse)
