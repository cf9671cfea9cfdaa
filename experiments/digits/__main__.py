"""Entry point: python -m experiments.digits."""

from experiments.digits.analysis import analyse
from memo.commands import experiment

if __name__ == "__main__":
    experiment.run("digits", analyse)
