"""The report of the digit network: its chapters, in the order of the talk."""

from pathlib import Path

from experiments.digits import accuracy, descent, drawing, first_layer, mistakes, noise, valleys
from memo.commands.evidence import Evidence
from memo.config import Config
from memo.reporting.legacy import ledger
from memo.reporting.report import Report
from memo.storage.run_folders import Tables

CHAPTERS = (accuracy, valleys, descent, mistakes, first_layer, noise, drawing)


def analyse(tables: Tables, config: Config, folder: Path) -> Report:
    """Return the report of the trials in `tables`, drawing its figures into `folder`."""
    evidence = Evidence(tables, config, folder)
    chapters = [module.chapter(evidence) for module in CHAPTERS]

    def all_of(part):
        return [item for chapter in chapters for item in getattr(chapter, part)]

    return Report(
        title="The digit network of the talk: what it learns, and what it has no idea of",
        question="What does a 784-16-16-10 network learn of handwritten digits, what does it get wrong, and how sure is it "
        "of noise?",
        findings=all_of("findings"),
        ledger=ledger(all_of("rows")),
        figures=all_of("figures"),
        methods=[_networks(evidence), *all_of("methods"), _intervals()],
        not_shown=_not_shown(evidence),
        tables={name: table for chapter in chapters for name, table in chapter.tables.items()},
        shown=all_of("shown"),
    )


def _networks(evidence: Evidence) -> str:
    recipes = []
    for arm, words in (
        ("nielsen", "Nielsen's recipe"),
        ("chosen", "well-chosen recipe"),
        ("relu", "ReLU, cross-entropy"),
    ):
        if not len(evidence.of(arm)):
            continue
        recipe = evidence.of(arm).iloc[0]
        images = 60_000 if recipe.isna()["dataset.n_train"] else int(recipe["dataset.n_train"])
        recipes.append(
            f"{words}: {images:,} images, {recipe['model.activation']}, {recipe['model.init']} start, "
            f"{recipe['loss'].replace('_', ' ')}, {recipe['optimizer.name']} with learning rate "
            f"{recipe['optimizer.learning_rate']:g}, momentum {recipe['optimizer.momentum']:g}, "
            f"{recipe['optimizer.schedule']} schedule, batches of {recipe['batch_size']}, {recipe['epochs']} epochs, "
            f"n = {evidence.asked(arm)}"
        )
    return f"Networks of two hidden layers of 16. {'. '.join(recipes)}. All test on MNIST's test images, pixels divided by 255."


def _intervals() -> str:
    return (
        "Intervals: 95 %, Student's t over networks (seeds). Differences "
        "between arms are taken within pairs: the networks of one seed share images, their order and, where the shapes "
        "allow, initial weights. Verdicts follow from where the whole interval lies."
    )


def _not_shown(evidence: Evidence) -> list[str]:
    diverged = len(evidence.diverged)
    return [
        f"{diverged or 'None'} of the {len(evidence.diverged) + len(evidence.trials)} networks diverged.",
        "The talk's own network: its weights, recipe and accuracy are not published; Nielsen's recipe is that of the book the "
        "talk builds on.",
        "The choice of the well-chosen recipes used test accuracies, so that these are optimistic by what a choice among about "
        "a dozen settings makes.",
        "Set after a first run was seen: the typical three, beside the first of the test set; epochs and "
        "seeds of the 98 % rows, which were undecided at fewer; the length of the drawings' steps, by the confidence reached.",
    ]
