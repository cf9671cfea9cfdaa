"""What explicit regularisers do, in the form of the paper's tables 1 and 4, its CIFAR-10 rows beside ours."""

from typing import Any

import numpy as np
import pandas as pd

from experiments.random_labels.fitting import name_of
from experiments.random_labels.networks import RANDOM, RANDOM_DEEP, TRUE, TRUE_DEEP, ZHANG, Networks
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.panels import CHANCE
from memo.reporting.report import Figure, Shown, with_interval
from memo.statistics.intervals import Estimate, mean_interval

# Rows of the paper's table 1 as told by two third parties' notes that agree: layers, weight decay, labels, train and test
# accuracy in per cent on CIFAR-10; and the row of its table 4 that has weight decay and random labels.
CIFAR_PARAMETERS = {"3": 1_735_178, "1": 1_209_866}
CIFAR = {
    ("3", "weight decay", "true"): ("100.0", "53.35"),
    ("3", "none", "true"): ("100.0", "52.39"),
    ("3", "none", "random"): ("100.0", "10.48"),
    ("3", "weight decay", "random"): ("100", ""),
    ("1", "weight decay", "true"): ("99.80", "50.39"),
    ("1", "none", "true"): ("100.0", "50.51"),
    ("1", "none", "random"): ("99.34", "10.61"),
    ("1", "weight decay", "random"): ("99.21", ""),
}
LAYERS = {"3": "three", "1": "one"}
WITHOUT: dict[tuple[str, str], dict[str, Any]] = {
    ("1", "true"): TRUE,
    ("1", "random"): RANDOM,
    ("3", "true"): TRUE_DEEP,
    ("3", "random"): RANDOM_DEEP,
}
REGULARISERS = ("none", "weight decay", "dropout")
COLORS = {"none": palette.BLACK, "weight decay": palette.BLUE, "dropout": palette.PURPLE}


def chapter(evidence: Evidence, networks: Networks) -> Chapter:
    """Return the claims and tables on regularisers."""
    made = Chapter()
    _claims(networks, made)
    _tables(networks, made)
    _draw(evidence, networks, made)
    return made


def shown(layers: str, regulariser: str, labels: str) -> dict[str, Any]:
    """Return the condition on networks of "1" or "3" layers with a regulariser and true or random labels."""
    if regulariser == "none":
        return WITHOUT[layers, labels]
    return {"arm": f"{LAYERS[layers]}_{'decay' if regulariser == 'weight decay' else regulariser}", "labels": labels}


def percent(estimate: Estimate | None) -> str:
    """Return a share with its interval as per cent, without n."""
    if estimate is None:
        return "n/a"
    whole = Estimate(100 * estimate.value, 100 * estimate.low, 100 * estimate.high, estimate.n)
    return with_interval(whole, count=False)


def _claims(networks, made):
    statement = "Explicit regularisation is 'neither necessary nor by itself sufficient' for generalisation."
    gains = []
    for layers in ("1", "3"):
        name = name_of(networks, shown(layers, "none", "true"))
        for regulariser in REGULARISERS[1:]:
            random, true = (shown(layers, regulariser, labels) for labels in ("random", "true"))
            if not len(networks.where(**random)):
                continue
            slug = regulariser.split()[-1]
            claim = Claim(
                f"Z5-{slug}-{layers}", ZHANG, statement, f"training accuracy on random labels with {regulariser}", (0.99, 1),
                None, "regularisers", condition=name,
            )  # fmt: skip
            made.rows.append((claim, *networks.mean("train_accuracy", random)))
            claim = Claim(
                f"Z5-needless-{slug}-{layers}", ZHANG, statement,
                f"test accuracy on true labels, without − with {regulariser}", (-0.02, 1), None, "regularisers",
                condition=name,
            )  # fmt: skip
            answer = networks.difference("test_error", true, shown(layers, "none", "true"))
            made.rows.append((claim, *answer))
            gains.append(f"{regulariser} on {name} {with_interval(answer[0])}")
    statement = "Early stopping brings no benefit (on true labels)."
    for layers in ("1", "3"):
        true = shown(layers, "none", "true")
        claim = Claim(
            f"early-stopping-{layers}", ZHANG, statement, "test accuracy, best epoch − last", (0, 0.01), None, "regularisers",
            condition=name_of(networks, true),
        )  # fmt: skip
        made.rows.append((claim, *networks.difference("test_error", true, true, "best_test_error")))
    made.findings.append(
        f"<b>Regularisers.</b> What they add to the test accuracy on true labels: {'; '.join(gains)}. Training accuracy on "
        "random labels with them: "
        + "; ".join(
            f"{regulariser} on {name_of(networks, shown(layers, 'none', 'true'))} "
            f"{with_interval(networks.mean('train_accuracy', shown(layers, regulariser, 'random'))[0], count=False)}"
            for layers in ("1", "3")
            for regulariser in REGULARISERS[1:]
            if len(networks.where(**shown(layers, regulariser, "random")))
        )
        + "."
    )


def _tables(networks, made):
    first, second = [], []
    for layers in ("3", "1"):
        for labels in ("true", "random"):
            for regulariser in REGULARISERS:
                conditions = shown(layers, regulariser, labels)
                own = networks.where(**conditions)
                if own.empty:
                    continue
                train = percent(networks.mean("train_accuracy", conditions)[0])
                error, note = networks.mean("test_error", conditions, lambda errors: 1 - errors)
                best, _ = networks.mean("best_test_error", conditions, lambda errors: 1 - errors)
                paper = CIFAR.get((layers, regulariser, labels), ("", ""))
                decays = own["weight_decay"].iloc[0]
                name = own["network"].iloc[0]
                if regulariser != "dropout":
                    first.append(
                        {
                            "network": name,
                            "labels": labels,
                            "weight decay": f"yes ({decays:g})" if decays else "no",
                            "theirs, CIFAR-10: parameters": f"{CIFAR_PARAMETERS[layers]:,}",
                            "train %": paper[0],
                            "test %": paper[1],
                            "ours, MNIST: parameters": f"{int(own['parameters'].iloc[0]):,}",
                            "train % (ours)": train,
                            "test % (ours)": percent(error),
                            "epochs to 99 % (ours)": with_interval(networks.mean("t99", conditions)[0], count=False),
                        }
                    )
                dropped = own["dropout"].iloc[0]
                words = {"weight decay": f"weight decay {decays:g}", "dropout": f"dropout {dropped:g}"}
                second.append(
                    {
                        "network": name,
                        "labels": labels,
                        "regulariser": words.get(regulariser, "none"),
                        "train %, last": train,
                        "test %, last": percent(error),
                        "test %, early stopping": percent(best),
                        "best epoch": with_interval(networks.mean("best_epoch", conditions)[0], count=False),
                        "last epoch": with_interval(networks.mean("epochs", conditions)[0], count=False),
                        "missing": note,
                    }
                )
    regularised = pd.DataFrame(second)
    if not regularised["missing"].any():
        regularised = regularised.drop(columns="missing")
    images = int(networks.where(**TRUE)["n"].iloc[0])
    seeds = networks.where(**TRUE)["seed"].nunique()
    made.shown += [
        Shown(
            "Table 1 of the paper, beside ours",
            "Theirs: CIFAR-10, 50,000 images, single runs, as told by third parties' notes (rows with weight decay and random "
            f"labels: of their table 4, training accuracy only). Ours: MNIST, {images:,} images, means over n = {seeds} seeds "
            "with 95 % intervals, training ended when every label was fitted. The weight decay of the paper is not known to us.",
            pd.DataFrame(first),
        ),
        Shown(
            "Regularisers",
            f"Means over n = {seeds} seeds with 95 % intervals, {images:,} images. Early stopping takes the evaluation with the "
            "best test accuracy of each network, and is therefore optimistic.",
            regularised,
        ),
    ]
    made.tables["regularisers"] = regularised


def _draw(evidence, networks, made):
    figure, [[test, train]] = figures.grid(1, 2, width=4.2, height=2.9)
    layers = ("1", "3")
    for place, labels, column in ((test, "true", "test_error"), (train, "random", "train_accuracy")):
        for position, number in enumerate(layers):
            for offset, regulariser in zip((-0.25, 0, 0.25), REGULARISERS):
                conditions = shown(number, regulariser, labels)
                if networks.where(**conditions).empty:
                    continue
                values = networks.values(column, conditions).dropna()
                values = 1 - values if column == "test_error" else values
                place.plot(
                    np.full(len(values), position + offset),
                    values,
                    ".",
                    color=COLORS[regulariser],
                    alpha=0.4,
                    markersize=4,
                )
                style: palette.Style = {"color": COLORS[regulariser], "linestyle": "", "label": regulariser}
                if len(values):
                    marker = "os^"[REGULARISERS.index(regulariser)]
                    figures.interval(place, position + offset, mean_interval(values), marker=marker, **style)
                if column == "test_error":
                    best = 1 - networks.values("best_test_error", conditions).dropna()
                    if len(best):
                        style = {"color": COLORS[regulariser], "fillstyle": "none", "linestyle": "", "markersize": 6}
                        place.plot(position + offset, best.mean(), marker="v", **style, label="best epoch (open)")
        place.set_xticks(range(2), [name_of(networks, shown(number, "none", labels)) for number in layers])
        place.set_xlim(-0.5, 1.5)
    test.set(title="true labels", ylabel="test accuracy")
    train.set(title="random labels", ylabel="training accuracy")
    train.axhline(0.99, **palette.REFERENCE)
    figures.shared_legend(figure, test)
    said = []
    for number in layers:
        true = shown(number, "none", "true")
        gain, _ = networks.difference("test_error", true, true, "best_test_error")
        said.append(f"{name_of(networks, true)} {with_interval(gain, count=False)}")
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "regularisers"),
            "Neither necessary nor sufficient?",
            f"On true labels the best epoch is better than the last by {'; '.join(said)} in test accuracy. Left: test accuracy "
            "at the end (filled) and at the best epoch (open). Right: training accuracy on random labels at the end; dotted: "
            f"99 %. Small dots: n = {networks.where(**TRUE)['seed'].nunique()} seeds; marks: means with 95 % intervals; chance "
            f"is {CHANCE}.",
            "Test accuracy on true labels and training accuracy on random ones, by network and regulariser.",
        )
    )
