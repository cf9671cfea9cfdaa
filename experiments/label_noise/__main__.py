"""Entry point: python -m experiments.label_noise."""

from experiments.label_noise.analysis import analyse
from memo.commands import experiment

if __name__ == "__main__":
    experiment.run("label_noise", analyse)
