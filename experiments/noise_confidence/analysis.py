"""The report on confidence where there is nothing: its chapters, the question first."""

from pathlib import Path

import pandas as pd

from experiments.noise_confidence import doubt, equal, far, fooling, hendrycks, kinds
from experiments.noise_confidence.populations import networks
from memo.commands.evidence import Evidence
from memo.config import Config
from memo.reporting.legacy import report_of
from memo.reporting.report import Report, number
from memo.statistics.curve_summary import training_images
from memo.storage.run_folders import Tables

CHAPTERS = (equal, kinds, far, hendrycks, doubt, fooling)


def analyse(tables: Tables, config: Config, folder: Path) -> Report:
    """Return the report of the trials in `tables`, drawing its figures into `folder`."""
    evidence = Evidence(tables, config, folder)
    chapters = [module.chapter(evidence) for module in CHAPTERS]

    return report_of(
        chapters,
        title="Confidence where there is nothing: networks that learned, and networks that memorised",
        question="At the same training accuracy, is a network that memorised shuffled labels more or less sure of noise than one "
        "that learned true ones? And what do both say about other inputs that are no digits?",
        methods=_networks(evidence),
        closing_methods=[_intervals()],
        not_shown=_not_shown(evidence),
    )


def _networks(evidence):
    trials = networks(evidence, "widths", "half")
    if not len(trials):
        return ["Every network diverged."]
    recipe = trials.iloc[0]
    images = training_images(recipe)
    tests = 10_000 if pd.isna(recipe["dataset.n_test"]) else int(recipe["dataset.n_test"])
    fitted = trials.assign(fitted=trials["final_train_accuracy"] == 1).groupby(["width", "labels"], sort=False)[
        "fitted"
    ]
    missing = [
        f"{labels} at width {width}: {own.sum()} of {len(own)}" for (width, labels), own in fitted if not own.all()
    ]
    return [
        f"Networks by width: {images:,} training and {tests:,} test images of MNIST, pixels divided by 255; two hidden layers, "
        f"{recipe['model.activation']}, {recipe['model.init']} start, {recipe['loss'].replace('_', '-')}, "
        f"{recipe['optimizer.name']} with learning rate {recipe['optimizer.learning_rate']:g} and momentum "
        f"{recipe['optimizer.momentum']:g}, batches of {recipe['batch_size']}, until every training label is fitted or for "
        f"{recipe['epochs']} epochs, n = {trials['seed'].nunique()} seeds. Shuffled labels are a permutation of the true ones; "
        "half random: each redrawn with probability 0.5, of which "
        f"{number(trials[trials['labels'] == 'half']['labels.changed'].mean())} of all really change. "
        f"Every label fitted: all networks{' but ' + '; '.join(missing) if missing else ''}.",
    ]


def _intervals():
    return (
        "Intervals: 95 %, Student's t over seeds; differences are taken within "
        "pairs of one seed. Verdicts follow from where the whole interval lies, and need five seeds."
    )


def _not_shown(evidence):
    return [
        evidence.divergence(),
        "All 60,000 images for the networks on shuffled labels: how long they take, and so how far their weights grow, depends on "
        "the number of images.",
        "One learning rate for all widths, and one optimiser for all activations and losses: neither is tuned for either kind of "
        "labels.",
        "Omniglot, notMNIST and CIFAR-10 as inputs (Hendrycks and Gimpel's other rows); Fashion-MNIST stands in for structured "
        "images that are no digits. Evolved images (Nguyen et al.): here by gradient ascent only.",
        "Hein et al.'s and Guo et al.'s own data sets; their remedies (CEDA, ACET) are not trained.",
    ]
