"""The report on random labels: its chapters, in the order of the paper."""

from pathlib import Path

from experiments.random_labels import capacity, corruption, fitting, kernel_fits, regularisers
from experiments.random_labels.fitting import name_of
from experiments.random_labels.networks import RANDOM, TRUE, TRUE_DEEP, Networks
from memo.commands.evidence import Evidence
from memo.config import Config
from memo.data import datasets
from memo.reporting.legacy import report_of
from memo.reporting.report import Report, number
from memo.storage.run_folders import Tables


def analyse(tables: Tables, config: Config, folder: Path) -> Report:
    """Return the report of the trials in `tables`, drawing its figures into `folder`."""
    evidence = Evidence(tables, config, folder)
    networks = Networks(evidence)
    chapters = [
        fitting.chapter(evidence, networks),
        corruption.chapter(evidence, networks),
        regularisers.chapter(evidence, networks),
        capacity.chapter(evidence, networks, config.experiment.settings["expressivity"]),
        kernel_fits.chapter(evidence, config.experiment.settings["kernels"]),
    ]

    return report_of(
        chapters,
        title="Random labels: Zhang et al. 2017 on MLPs and MNIST",
        question="Networks that generalise also fit labels that mean nothing. How long does that take, what does it need, and "
        "what do regularisers have to do with it?",
        methods=_methods(networks),
        not_shown=_not_shown(evidence, networks),
        tables={"networks": networks.frame.drop(columns="trial")},
    )


def _recipe(networks, conditions):
    trial = networks.trials[networks.trials["trial"].isin(networks.where(**conditions)["trial"])].iloc[0]
    return (
        f"{trial['optimizer.name']}, learning rate {trial['optimizer.learning_rate']:g}, momentum "
        f"{trial['optimizer.momentum']:g}, {trial['optimizer.schedule']} schedule, at most {trial['epochs']} epochs"
    )


def _methods(networks):
    trial = networks.trials[networks.trials["trial"].isin(networks.where(**TRUE)["trial"])].iloc[0]
    images = int(networks.where(**TRUE)["n"].iloc[0])
    lines = [
        f"Data: {images:,} training images of MNIST, a random draw for each seed, pixels divided by 255 (the paper "
        "whitened each image). A label is redrawn uniformly with probability p, once and for all epochs; test labels are true "
        "ones. Shuffled pixels: one permutation for all images; random pixels: one for each image; Gaussian: pixels drawn with "
        "the mean and standard deviation of the data; all three keep true labels.",
        f"Networks: {trial['model.activation']}, {trial['model.init']} initialisation, cross-entropy, batches of "
        f"{trial['batch_size']}. Tuned for {name_of(networks, TRUE)}: {_recipe(networks, TRUE)}; for "
        f"{name_of(networks, TRUE_DEEP)}: {_recipe(networks, TRUE_DEEP)}. Rates were chosen on other seeds, by how soon random "
        "labels were fitted, and are the same for all settings. Training ends when every label is fitted.",
    ]
    literal = networks.where(arm="literal")
    if len(literal):
        lines.append(
            f"The paper's schedule: {_recipe(networks, {'arm': 'literal'})}, decay 0.95 an epoch; or the same decay every 390 "
            f"steps, {_recipe(networks, {'arm': 'literal_steps'})}."
        )
    cells = networks.frame[networks.frame["arm"].str.startswith("map_")]
    if len(cells):
        arm = cells["arm"].iloc[-1]
        lines.append(
            f"The map of width and labels: {_recipe(networks, {'arm': arm})} for {int(cells['n'].iloc[-1]):,} labels, and as many "
            "steps for fewer."
        )
    return [
        *lines,
        "Pairs: the networks of one seed share images, initial weights (where shapes allow) and the order of minibatches; "
        "differences and ratios are taken within pairs. Intervals: 95 %, Student's t over seeds; "
        "ratios are geometric means, with intervals of their logarithms.",
        "Expected ranges of Z1 to Z7 were fixed before the runs. Of the others (2 points of test accuracy for regularisers, 1 for "
        "early stopping, slope 0.8 to 1.2, steepness 2) the sources give none: they are ours, fixed before the runs as well.",
    ]


def _not_shown(evidence, networks):
    images = int(networks.where(**RANDOM)["n"].iloc[0])
    lines = [evidence.divergence()]
    if images < datasets.MNIST.train_images:
        lines.append(
            f"All {datasets.MNIST.train_images:,} images: here {images:,}. Times and their ratios grow with that number, and so the "
            "verdict on the small constant factor is one for this number (<code>scale=paper</code> uses all)."
        )
    changed = number(networks.where(**RANDOM)["changed"].mean())
    return [
        *lines,
        f"Labels that are all wrong: redrawing all changes a share of {changed}.",
        "Convolutional networks, CIFAR-10 and ImageNet, data augmentation and batch normalisation, which the paper has; its "
        "per-image whitening.",
    ]
