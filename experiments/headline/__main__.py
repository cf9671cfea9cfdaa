"""Entry point: python -m experiments.headline."""

from experiments.headline.analysis import analyse
from memo.commands import experiment

if __name__ == "__main__":
    experiment.run("headline", analyse)
