"""Whether random labels and random inputs are fitted, by which schedule, and in which order (the paper's figure 1a)."""

from typing import Any

import numpy as np

from experiments.random_labels.networks import (
    PIXELS,
    RANDOM,
    RANDOM_DEEP,
    TRUE,
    TRUE_DEEP,
    ZHANG,
    Conditions,
    Networks,
    times_reached,
)
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette, panels
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.panels import CHANCE
from memo.reporting.report import Figure, with_interval
from memo.statistics.intervals import mean_interval

PARTLY = 0.4  # the partly corrupted labels among the six settings; the paper names no fraction
# The paper's six settings: what was shown, words, line.
SETTINGS: dict[str, tuple[Conditions, str, Any]] = {
    "true labels": (TRUE, palette.BLUE, "-"),
    "partly corrupted": ({"arm": "one_corrupted", "fraction": PARTLY}, palette.SKY, (0, (5, 1.5))),
    "random labels": (RANDOM, palette.GREEN, (0, (1.5, 1.5))),
    "shuffled pixels": (PIXELS["shuffled_pixels"], palette.BLACK, (0, (4, 1.5, 1, 1.5))),
    "random pixels": (PIXELS["random_pixels"], palette.ORANGE, (0, (3, 1, 1, 1, 1, 1))),
    "Gaussian": (PIXELS["gaussian"], palette.PURPLE, (0, (7, 1))),
}
# Least training accuracy on random labels, of the protocol: the paper has 99.34 % and 100 %.
FITS = {"1": (RANDOM, 0.993), "3": (RANDOM_DEEP, 0.999)}
SCHEDULES = {
    "literal": "decay 0.95 an epoch",
    "literal_steps": "decay 0.95 every 390 steps",
}


def chapter(evidence: Evidence, networks: Networks) -> Chapter:
    """Return the claims and figures on what is fitted and when."""
    made = Chapter()
    _capacity(networks, made)
    _order(networks, made)
    _sanity(networks, made)
    _draw_loss(evidence, networks, made)
    _draw_order(evidence, networks, made)
    _literal(evidence, networks, made)
    return made


def name_of(networks: Networks, conditions: dict) -> str:
    """Return the name of the network that these conditions are about, such as "1×512"."""
    own = networks.where(**conditions)["network"]
    return own.iloc[0] if len(own) else "/".join(map(str, conditions.values()))


def _capacity(networks, made):
    statement = "Networks fit completely random labels, and are then no better than chance on test images."
    answers = {}
    for depth, (random, least) in FITS.items():
        name = name_of(networks, random)
        claim = Claim(
            f"Z1-fits-{depth}", ZHANG, statement, "training accuracy, random labels", (least, 1), None, "loss",
            condition=name,
        )  # fmt: skip
        answers[depth] = networks.mean("train_accuracy", random)
        made.rows.append((claim, *answers[depth]))
        claim = Claim(
            f"Z1-chance-{depth}", ZHANG, statement, "test accuracy, random labels", (0.09, 0.11), None, "corruption",
            condition=name,
        )  # fmt: skip
        made.rows.append((claim, *networks.mean("test_error", random, lambda errors: 1 - errors)))
    fitted = [f"{name_of(networks, FITS[depth][0])} {with_interval(one)}" for depth, (one, _) in answers.items()]
    test = [with_interval(networks.mean("test_error", random, lambda e: 1 - e)[0]) for random, _ in FITS.values()]
    images = int(networks.where(**RANDOM)["n"].iloc[0])
    made.findings.append(
        f"<b>Capacity.</b> Training accuracy on {images:,} random labels: {', '.join(fitted)}. Test accuracy after that: "
        f"{', '.join(test)}; chance is {CHANCE}."
    )


def _order(networks, made):
    statement = "Random pixels and Gaussian inputs are fitted sooner than random labels on real images."
    for kind, words in (("random_pixels", "random pixels"), ("gaussian", "Gaussian inputs")):
        for time, text in (
            ("t99", "epochs to 99 % training accuracy"),
            ("start", "epochs until a tenth of the loss is lost"),
        ):
            claim = Claim(
                f"Z4-{time}-{kind.replace('_', '-')}", ZHANG, statement, f"{text}, random labels / this", (1.0001, np.inf), None,
                "order", condition=words,
            )  # fmt: skip
            names = ("random-label", f"curve on {words}")
            made.rows.append((claim, *networks.longer(time, RANDOM, PIXELS[kind], names)))
    statement = "Once fitting random labels starts, it goes quickly."
    for depth, (random, _) in FITS.items():
        claim = Claim(
            f"Z4-quickly-{depth}", ZHANG, statement, "steepest over mean slope of the training accuracy (straight line: 1)",
            (2, np.inf), (1.0001, np.inf), "shapes", condition=name_of(networks, random),
        )  # fmt: skip
        made.rows.append((claim, *networks.mean("accuracy_steepness", random)))


def _sanity(networks, made):
    """Shuffled pixels are a renaming of inputs: what an MLP makes of them has the same distribution."""
    statement = "For an MLP one permutation of all pixels changes nothing but names: as true labels, in distribution."
    shuffled = PIXELS["shuffled_pixels"]
    claim = Claim(
        "sanity-shuffled-error", "this suite", statement, "test error, shuffled pixels − true labels", (-0.01, 0.01), None,
        "order", condition=name_of(networks, TRUE),
    )  # fmt: skip
    made.rows.append((claim, *networks.difference("test_error", shuffled, TRUE)))
    claim = Claim(
        "sanity-shuffled-time", "this suite", statement, "epochs to 99 %, shuffled pixels / true labels", (0.8, 1.25), None,
        "order", condition=name_of(networks, TRUE),
    )  # fmt: skip
    made.rows.append((claim, *networks.longer("t99", shuffled, TRUE, ("shuffled-pixel", "curve on true labels"))))


def _draw_loss(evidence, networks, made):
    figure, [[loss, accuracy]] = figures.grid(1, 2, width=4.4, height=3.2)
    last = 0
    for words, (conditions, color, dashes) in SETTINGS.items():
        own = networks.curves_of(**conditions)
        style: palette.Style = {"color": color, "linestyle": dashes, "label": words}
        panels.mean_line(loss, own, "train_loss", "step", **style)
        panels.mean_line(accuracy, own, "train_accuracy", **style)
        last = max(last, own["epoch"].max() if len(own) else 0)
    loss.set(xlabel="step", ylabel="training loss", ylim=(0, None), xlim=(0, None))
    accuracy.axhline(CHANCE, **palette.REFERENCE)
    accuracy.set(ylim=(0, 1.03), ylabel="training accuracy")
    figures.epoch_axis(accuracy, last)
    figures.shared_legend(figure, loss, 3)
    ends = []
    for words, (conditions, _, _) in SETTINGS.items():
        steps, _ = networks.mean("steps", conditions)
        ends.append(f"{words} {with_interval(steps, count=False)}")
    n = networks.where(**TRUE)["seed"].nunique()
    name = name_of(networks, TRUE)
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "loss"),
            "Fitting true labels, random labels and random inputs (the paper's figure 1a)",
            f"Mean steps until every training label is fitted, or training ends: {'; '.join(ends)}. {name} by one learning "
            f"rate for all; lines: means over n = {n} seeds, bands: all seeds, a network that has ended keeps its last value. "
            f"Partly corrupted: a share {PARTLY:g} of the labels redrawn. Left, steps on a linear axis as in the paper; "
            "right, epochs, linear up to a tenth of an epoch and logarithmic after it; dotted: chance.",
            "Training loss by step and training accuracy by epoch for the six settings of the paper.",
        )
    )


def _draw_order(evidence, networks, made):
    figure, [[place]] = figures.grid(1, 1, width=6.4, height=3.2)
    times = {"start": "a tenth of the loss lost", "t50": "50 %", "t99": "99 % training accuracy"}
    for position, (conditions, _, _) in enumerate(SETTINGS.values()):
        for (time, words), color, marker in zip(times.items(), ("0.5", palette.SKY, palette.BLUE), "os^"):
            values = networks.values(time, conditions).dropna()
            place.plot(values, np.full(len(values), position), ".", color=color, alpha=0.35, markersize=4)
            if len(values):
                mean = mean_interval(values)
                bars = [[mean.value - mean.low], [mean.high - mean.value]] if np.isfinite(mean.low) else None
                place.errorbar(
                    mean.value, position, xerr=bars, fmt=marker, color=color, markersize=5, capsize=2.5, label=words
                )
    place.set_yticks(range(len(SETTINGS)), list(SETTINGS))
    place.invert_yaxis()
    figures.log_axis(place, "x")
    place.set(xlabel="epochs")
    figures.shared_legend(figure, place)
    reached = {words: times_reached(networks, "t99", conditions) for words, (conditions, _, _) in SETTINGS.items()}
    listed = "; ".join(f"{words} {with_interval(time, count=False)}" for words, time in reached.items() if time)
    never = [words for words, time in reached.items() if time is None]
    whole = f" Not in every network: {', '.join(never)}." if never else ""
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "order"),
            "What is fitted sooner",
            f"Mean epochs to 99 % training accuracy: {listed or 'none gets there'}.{whole} Small dots: the n = "
            f"{networks.where(**TRUE)['seed'].nunique()} seeds; large marks: means with 95 % intervals. Grey: when a tenth of "
            "the initial loss is lost, where fitting starts.",
            "Epochs to lose a tenth of the loss and to 50 and 99 % training accuracy, by setting.",
        )
    )


def _literal(evidence, networks, made):
    statement = "The schedule of the paper (0.01, times 0.95 an epoch) fits random labels, unchanged from true ones."
    reached = []
    for arm, words in SCHEDULES.items():
        for name in dict.fromkeys(networks.where(arm=arm)["network"]):
            deep = name.startswith("3")
            least = FITS["3" if deep else "1"][1]
            random = {"arm": arm, "network": name, "labels": "random"}
            answer = networks.mean("train_accuracy", random)
            claim = Claim(
                f"Z1-{arm.replace('_', '-')}-{'3' if deep else '1'}", ZHANG, statement,
                f"training accuracy, random labels, {words}", (least, 1), None, "literal", condition=name,
            )  # fmt: skip
            made.rows.append((claim, *answer))
            reached.append(f"{name}, {words}: {with_interval(answer[0])}")
    columns = [(name_of(networks, TRUE), TRUE, RANDOM), (name_of(networks, TRUE_DEEP), TRUE_DEEP, RANDOM_DEEP)]
    figure, [places] = figures.grid(1, 2, width=4.2, height=3, sharey=True)
    dashes: dict[str, Any] = {"literal": (0, (1.5, 1.5)), "literal_steps": (0, (5, 1.5)), "tuned": "-"}
    for place, (name, true, random) in zip(places, columns):
        kinds: dict[str, tuple[str, Conditions, Conditions]] = {"tuned": ("tuned, constant", true, random)} | {
            arm: (words, shown | {"labels": "true"}, shown | {"labels": "random"})
            for arm, words in SCHEDULES.items()
            for shown in [{"arm": arm, "network": name}]
        }
        last = 0
        for arm, (words, *both) in kinds.items():
            for labels, conditions in zip(("true", "random"), both):
                own = networks.curves_of(**conditions)
                style: palette.Style = {
                    "color": palette.LABELS[labels].color,
                    "linestyle": dashes[arm],
                    "label": f"{labels} labels, {words}",
                }
                panels.mean_line(place, own, "train_accuracy", **style)
                last = max(last, own["epoch"].max() if len(own) else 0)
        figures.epoch_axis(place, last)
        place.axhline(CHANCE, **palette.REFERENCE)
        place.set(title=name, ylim=(0, 1.03))
    places[0].set_ylabel("training accuracy")
    figures.shared_legend(figure, places[0], 2)
    images = int(networks.where(**RANDOM)["n"].iloc[0])
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "literal"),
            "The paper's schedule beside a tuned one",
            f"Training accuracy reached on {images:,} random labels by the paper's learning rate 0.01: {'; '.join(reached)}. "
            "Decaying so, all epochs to come are worth 20 at the first rate; and as an epoch here has fewer steps than the 390 "
            "of the paper's 50,000 images, the same decay is also taken by steps. Lines: means over "
            "seeds, bands: all seeds.",
            "Training accuracy by epoch for the literal and the tuned schedule, true and random labels, two networks.",
        )
    )
    made.findings.append(
        f"<b>Schedule.</b> With the paper's rate, training accuracy on random labels ends at: {'; '.join(reached)}."
    )
