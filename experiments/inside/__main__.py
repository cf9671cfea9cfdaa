"""Entry point: python -m experiments.inside."""

from experiments.inside.analysis import analyse
from memo.commands import experiment

if __name__ == "__main__":
    experiment.run("inside", analyse)
