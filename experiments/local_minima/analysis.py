"""The report on local minima: its chapters, from the paper's populations to what structure changes."""

from pathlib import Path

from experiments.local_minima import barriers, curvature, minima, structure
from memo.commands.evidence import Evidence
from memo.config import Config
from memo.reporting.legacy import report_of
from memo.reporting.report import Report
from memo.statistics.curve_summary import training_images
from memo.storage.run_folders import Tables

CHAPTERS = (minima, curvature, structure, barriers)


def analyse(tables: Tables, config: Config, folder: Path) -> Report:
    """Return the report of the trials in `tables`, drawing its figures into `folder`."""
    evidence = Evidence(tables, config, folder)
    chapters = [module.chapter(evidence) for module in CHAPTERS]

    return report_of(
        chapters,
        title="Local minima: of equal quality, and with what structure",
        question="Are the minima that training finds of equal quality, and what changes when the labels have no structure?",
        methods=[_networks(evidence)],
        closing_methods=[_intervals()],
        not_shown=_not_shown(evidence),
    )


def _networks(evidence: Evidence) -> str:
    lines = []
    for arm, words in (("minima", "Minima by width"), ("twins", "twins"), ("index_10", "index of critical points")):
        own = evidence.of(arm)
        if not len(own):
            continue
        recipe = own.iloc[0]
        images = training_images(recipe)
        widths = ", ".join(str(width) for width in sorted({int(widths[0]) for widths in own["model.widths"]}))
        decay = f" (× {recipe['optimizer.decay']:g} an epoch)" if recipe["optimizer.schedule"] == "exponential" else ""
        lines.append(
            f"{words}: {images:,} training images, width {widths}, learning rate {recipe['optimizer.learning_rate']:g}, "
            f"{recipe['optimizer.schedule']} schedule{decay}, batches of {recipe['batch_size']}, {recipe['epochs']} epochs, "
            f"{evidence.asked(arm)} networks"
        )
    side = evidence.of("minima")["dataset.image_side"]
    return (
        f"Networks of one hidden layer of ReLU, He start, cross-entropy, SGD with momentum 0.9, on MNIST averaged down to "
        f"{int(side.iloc[0]) if len(side) else 10} pixels a side. {'; '.join(lines)}. The networks of an arm see the same images; "
        "each has a start and an order of minibatches of its own."
    )


def _intervals() -> str:
    return (
        "Intervals: 95 %, Student's t; of standard deviations and correlations by the jackknife, of shares by Clopper and Pearson. Accepted ranges were fixed before the "
        "runs: 0.15 around the noted correlations and a gap of 0.2, an index of 0.02; those the paper does not give are ours. "
        "Verdicts follow from where the whole interval lies."
    )


def _not_shown(evidence: Evidence) -> list[str]:
    return [
        evidence.divergence(),
        "The paper's spin glasses, its simulated annealing, and its fit of the mean loss to an exponential of a power of the "
        "width.",
        "The paper's loss, start, batch size and schedule in detail, which the text available to us does not say; its numbers "
        "come from a third party's notes.",
        "Depth: the paper varies width alone, and so does this report.",
        "Other shufflings: one set of images and one shuffling for all starts, so that intervals are over starts and not over "
        "data.",
    ]
