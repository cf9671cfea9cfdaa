"""The report on memorisation: its chapters, in the order of the paper."""

from pathlib import Path

from experiments.closer_look import (
    capacity,
    early_learning,
    easy_examples,
    networks,
    noise,
    regularisers,
    sensitivity,
    talk,
)
from memo.commands.evidence import Evidence
from memo.config import Config
from memo.reporting.legacy import report_of
from memo.reporting.report import Report
from memo.storage.run_folders import Tables


def analyse(tables: Tables, config: Config, folder: Path) -> Report:
    """Return the report of the trials in `tables`, drawing its figures into `folder`."""
    evidence = Evidence(tables, config, folder)
    frame = networks.table(evidence)
    chapters = [
        easy_examples.chapter(evidence),
        sensitivity.chapter(evidence, config.experiment.settings["sensitivity"]),
        noise.chapter(evidence, frame),
        early_learning.chapter(evidence, frame),
        capacity.chapter(evidence, frame),
        regularisers.chapter(evidence, frame),
        talk.chapter(evidence, frame),
    ]

    return report_of(
        chapters,
        title="A closer look at memorisation: Arpit et al. 2017 on MLPs and MNIST",
        question="What is different when a network memorises: in which examples it gets right, in what its loss hangs on, along "
        "training, by capacity, and under regularisers?",
        methods=_methods(evidence),
        not_shown=_not_shown(evidence),
    )


def _recipe(evidence, arm):
    recipe = evidence.asked_trials(arm)[0].recipe
    optimizer = recipe.optimizer
    images = f"{recipe.dataset.n_train:,}" if recipe.dataset.n_train else "all"
    return (
        f"{images} images, layers of {', '.join(map(str, recipe.model.widths))}, learning rate {optimizer.learning_rate:g}, "
        f"momentum {optimizer.momentum:g}, batches of {recipe.batch_size}, at most {recipe.epochs} epochs"
    )


def _methods(evidence):
    return [
        "Data: MNIST, a random draw of training images for each seed, pixels divided by 255. Networks: ReLU, He initialisation, "
        "cross-entropy, constant learning rate. The paper: two layers of 4096 units, 0.01 without momentum (as far as the text "
        "read says), 50,000 images and 1,000 epochs; here smaller and faster. "
        f"Easy examples: {_recipe(evidence, 'easy_real')}. Noise: {_recipe(evidence, 'noise_inputs')}. Capacity: "
        f"{_recipe(evidence, 'widths')}, and other widths and numbers. Regularisers: {_recipe(evidence, 'free')}.",
        "Pairs: networks of one seed share images, starts and orders of minibatches whatever their treatment, and differences are "
        "taken within seeds. Intervals: 95 %, Student's t over seeds, except "
        "for the easy examples.",
        "Expected ranges of A1 to A6 and of early learning come from a protocol that was written before the runs; where the "
        "paper only gives an order, a sign is all that is asked for.",
    ]


def _not_shown(evidence):
    return [
        evidence.divergence(),
        "Figures 2, 8 and 9 of the paper, and everything on CIFAR-10 and convolutional networks; the variant of the sensitivity "
        "with 1,000 classes.",
        "A validation set apart from the test images: best evaluations are chosen on the images that measure them.",
    ]
