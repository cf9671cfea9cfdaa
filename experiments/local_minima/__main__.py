"""Entry point: python -m experiments.local_minima."""

from experiments.local_minima.analysis import analyse
from memo.commands import experiment

if __name__ == "__main__":
    experiment.run("local_minima", analyse)
