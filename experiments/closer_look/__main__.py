"""Entry point: python -m experiments.closer_look."""

from experiments.closer_look.analysis import analyse
from memo.commands import experiment

if __name__ == "__main__":
    experiment.run("closer_look", analyse)
