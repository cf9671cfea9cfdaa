"""Entry point: python -m experiments.per_example."""

from experiments.per_example.analysis import analyse
from memo.commands import experiment

if __name__ == "__main__":
    experiment.run("per_example", analyse)
