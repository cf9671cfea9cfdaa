"""Entry point: python -m experiments.random_labels."""

from experiments.random_labels.analysis import analyse
from memo.commands import experiment

if __name__ == "__main__":
    experiment.run("random_labels", analyse)
