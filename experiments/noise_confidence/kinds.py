"""What networks say about ten kinds of inputs that are no digits, and whether that tells them from digits."""

import numpy as np
import pandas as pd

from experiments.noise_confidence.equal import ASKED, within
from experiments.noise_confidence.populations import (
    COLORS,
    INPUTS,
    LABELS,
    OFFSETS,
    TICKS,
    count_seeds,
    distinct,
    legend,
    networks,
    rows_of,
)
from memo.commands.evidence import Evidence
from memo.data import datasets
from memo.probes import weights
from memo.probes.out_of_distribution import of_images
from memo.reporting import figures, palette
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.panels import CHANCE
from memo.reporting.report import Figure, Shown, number, with_interval
from memo.statistics import over_seeds
from memo.statistics.intervals import mean_interval
from memo.training.inputs import test_rows

SHOWN = ("test", "fashion", "random_pixels", "uniform", "gaussian", "normal", "constant")


def chapter(evidence: Evidence) -> Chapter:
    """Return the claims and figures on kinds of inputs."""
    made = Chapter()
    trials = networks(evidence, "widths", "half")
    answers = all_kinds(evidence, trials)
    widths = distinct(evidence, "width", "widths", "half")
    seeds = count_seeds(evidence, "widths")
    made.tables["kinds"] = over_seeds.summarise(
        answers.melt(
            ["width", "labels", "inputs"],
            ["mean_confidence", "share_above_0.9", "entropy", "auroc_vs_test", "aupr_vs_test", "auroc_vs_right"],
            "quantity",
        ).assign(quantity=lambda long: long["quantity"] + "_" + long["inputs"])
    )
    _claims(answers, widths, seeds, made)
    _draw_distributions(answers, widths[-1], evidence, made)
    _draw_kinds(answers, widths, evidence, made)
    _detection(answers, widths, evidence, made)
    made.methods.append(
        "Kinds of inputs, as many of each as test images: Fashion-MNIST test images; test images with the pixels of each "
        "permuted on its own; uniform on [0, 1]; Gaussian with the data's mean and sd, clipped to [0, 1]; N(0, 1), not "
        "clipped; images of one grey, from black to white; the uniform images times 2 to 100. Networks of one seed are shown "
        "the same draws. AUROC: the probability that a test image is answered more surely than such an input; AUPR: average "
        "precision of the test images among as many such inputs (chance: 0.5 both)."
    )
    return made


def fashion(evidence: Evidence, trials: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of the probe out_of_distribution for Fashion-MNIST's test images, of networks with stored weights.

    Raises DataError where Fashion-MNIST cannot be had.
    """
    images = datasets.load("fashion_mnist").test_images
    stored = evidence.tables.weights.set_index("trial")["weights"]
    rows = []
    groups: dict = {}
    for trial in trials["trial"]:
        groups.setdefault(evidence.static_of(trial), []).append(trial)
    for static, members in groups.items():
        test, labels = evidence.test_images_of(members[0])
        shown = images[test_rows(len(images), len(test))]
        others, test = (array.astype(np.float32) / np.float32(255) for array in (shown, test))
        layers = weights.layers([stored[trial] for trial in members], static.sizes)
        found = of_images(static, layers, others, test, labels)
        rows += [{"trial": trial, "inputs": "fashion"} | row for trial, row in zip(members, found)]
    return pd.DataFrame(rows).drop(columns="histogram", errors="ignore")


def all_kinds(evidence: Evidence, trials: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each network and kind of input, Fashion-MNIST among them where it can be had."""
    facts = ("width", "labels", "final_train_accuracy")
    stored = rows_of(evidence.tables.out_of_distribution, trials, *facts)
    if not len(trials):
        return stored
    try:
        other = fashion(evidence, trials).join(trials.set_index("trial")[["seed", *facts]], on="trial")
    except datasets.DataError:
        return stored
    return pd.concat([stored, other], ignore_index=True)


def _fitted(answers, column):
    """Return a column where every training label is fitted, NaN elsewhere."""
    return answers.assign(fitted=answers[column].where(answers["final_train_accuracy"] == 1))


def _claims(answers, widths, seeds, made):
    own = _fitted(answers, "auroc_vs_test")
    for labels, statement, accept in (
        (
            "shuffled",
            "A network that memorised shuffled labels cannot tell digits from noise by its confidence.",
            (0, 0.6),
        ),
        ("true", "A network that learned true labels tells digits from noise by its confidence.", (0.8, 1)),
    ):
        for inputs in ("uniform", "gaussian"):
            frame = own[own["inputs"] == inputs]
            for width in widths:
                claim = Claim(
                    f"tells-{labels}-{inputs}-{width}",
                    ASKED,
                    statement,
                    f"AUROC of test images against {INPUTS[inputs].split(',')[0]}, {labels} labels",
                    accept,
                    None,
                    "detection",
                    condition=f"width {width}",
                )
                made.rows.append((claim, *over_seeds.mean(frame, "fitted", labels, width, seeds)))


def _kinds_in(answers):
    return [kind for kind in SHOWN if kind != "fashion" or (answers["inputs"] == kind).any()]


def _draw_distributions(answers, width, evidence, made):
    own = answers[(answers["width"] == width) & (answers["final_train_accuracy"] == 1)]
    kinds = _kinds_in(answers)[::-1]
    figure, [places] = figures.grid(1, len(LABELS), width=3.0, height=3.4, sharex=True, sharey=True)
    quantiles = ["q05", "q25", "q50", "q75", "q95", "mean_confidence"]
    counts = {}
    for place, labels in zip(places, LABELS):
        rows = own[own["labels"] == labels]
        counts[labels] = rows["trial"].nunique()
        means = rows.groupby("inputs")[quantiles].mean()
        for height, kind in enumerate(kinds):
            if kind not in means.index:
                continue
            box, color = means.loc[kind], COLORS[labels]
            place.plot([box["q05"], box["q95"]], [height, height], color=color, linewidth=1.2)
            place.barh(height, box["q75"] - box["q25"], left=box["q25"], height=0.55, color=color, alpha=0.75)
            place.plot(box["mean_confidence"], height, "o", color="white", markeredgecolor=color, markersize=5)
        place.axvline(CHANCE, **palette.REFERENCE)
        place.set_yticks(range(len(kinds)), [INPUTS[kind] for kind in kinds])
        place.set(xlim=(0, 1.02), xlabel="confidence", title=LABELS[labels])
    means = own.groupby(["labels", "inputs"])["mean_confidence"].mean()
    spoken = [
        f"{LABELS[labels]}: test images {number(means[labels, 'test'])}, uniform noise {number(means[labels, 'uniform'])}"
        + (f", Fashion-MNIST {number(means[labels, 'fashion'])}" if (labels, "fashion") in means.index else "")
        for labels in LABELS
        if (labels, "test") in means.index
    ]
    first = (
        f"Mean confidence at width {width}: {'; '.join(spoken)}." if spoken else f"No network of width {width} is left."
    )
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "kinds"),
            "Distributions of confidence by kind of input",
            f"{first} Networks of width {width} that fitted every label (n = "
            f"{', '.join(f'{counts[labels]} with {LABELS[labels]}' for labels in LABELS)}). Boxes: the middle half of the "
            "inputs; lines: 5 % to 95 %; white dots: means. Quantiles are averaged over networks. Dotted: even doubt.",
            "Boxes of confidence for each kind of input, for three kinds of labels.",
        )
    )


def _draw_kinds(answers, widths, evidence, made):
    kinds = _kinds_in(answers)
    own = _fitted(answers, "mean_confidence")
    figure, [[place]] = figures.grid(1, 1, width=9.4, height=3.0)
    spread = np.linspace(-0.32, 0.32, max(2, len(widths)))
    shades = [str(value) for value in np.linspace(0.72, 0.0, len(widths))]
    surer, counted = [], 0
    for offset, shade, width in zip(spread, shades, widths):
        for position, kind in enumerate(kinds):
            values = within(own[own["inputs"] == kind], "fitted", width)
            if not len(values):
                continue
            estimate = mean_interval(values)
            style = {"color": shade, "marker": "o", "linestyle": "", "label": f"width {width}"}
            figures.interval(place, position + offset, estimate, **style)
            counted += 1
            surer.append(int(estimate.low > 0) - int(estimate.high < 0))
    place.axhline(0, color="0.4", linewidth=1)
    place.set_xticks(range(len(kinds)), [TICKS[kind] for kind in kinds], fontsize=8)
    place.set(ylabel="mean confidence,\nshuffled − true", xlim=(-0.5, len(kinds) - 0.5))
    figures.shared_legend(figure, place)
    by_kind = {
        kind: [within(own[own["inputs"] == kind], "fitted", width) for width in widths] for kind in ("test", "fashion")
    }
    spoken = "; ".join(
        f"{INPUTS[kind]} {with_interval(mean_interval(values[-1]))}"
        for kind, values in by_kind.items()
        if len(values[-1])
    )
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "by_kind"),
            "Memorising against learning, by kind of input",
            f"Where every label is fitted, shuffled − true is above 0 in {surer.count(1)} and below 0 in {surer.count(-1)} of "
            f"{counted} comparisons (kinds of inputs by widths), by 95 % intervals"
            + (f"; at width {widths[-1]}: {spoken}" if spoken else "")
            + ". Widths that did not fit their shuffled labels are left out.",
            "Differences in mean confidence between shuffled and true labels for each kind of input and width.",
        )
    )


def _detection(answers, widths, evidence, made):
    kinds = [kind for kind in _kinds_in(answers) if kind != "test"]
    fitted = answers[answers["final_train_accuracy"] == 1]
    width = widths[-1]
    own = fitted[fitted["width"] == width]
    figure, [places] = figures.grid(1, 2, width=4.8, height=3.2, sharey=True)
    for place, column, title in zip(places, ("auroc_vs_test", "aupr_vs_test"), ("AUROC", "AUPR")):
        for labels in LABELS:
            for position, kind in enumerate(kinds):
                values = own[(own["labels"] == labels) & (own["inputs"] == kind)][column].dropna()
                if len(values):
                    style = {"color": COLORS[labels], "marker": "o", "linestyle": "", "label": LABELS[labels]}
                    figures.interval(place, position + OFFSETS[labels], mean_interval(values), **style)
        place.axhline(0.5, **palette.REFERENCE)
        place.set_xticks(range(len(kinds)), [TICKS[kind] for kind in kinds], fontsize=7.5, rotation=30)
        place.set(title=f"{title} of test images", ylim=(0, 1.03))
    legend(figure)
    means = own.groupby(["labels", "inputs"])["auroc_vs_test"]
    spoken = [
        f"{LABELS[labels]} {with_interval(mean_interval(means.get_group((labels, 'uniform')).dropna()))}"
        for labels in LABELS
        if (labels, "uniform") in means.groups and means.get_group((labels, "uniform")).notna().any()
    ]
    if spoken:
        made.findings.append(
            f"<b>Telling digits from noise.</b> By confidence alone, at width {width} and with every label fitted, a test "
            f"digit is told from uniform noise with an AUROC of: {'; '.join(spoken)} (chance 0.5)."
        )
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "detection"),
            "Telling test digits from what is none",
            f"AUROC against uniform noise at width {width}: {'; '.join(spoken) or 'no network fitted its labels'}. Networks of "
            f"width {width} that fitted every label. Above the dotted line digits get the higher confidence; below it what is "
            "no digit does. Points: means with 95 % intervals.",
            "AUROC and AUPR of test digits against each kind of input, by labels.",
        )
    )
    made.shown.append(
        Shown(
            "Confidence, entropy and detection by kind of input",
            f"Networks of width {width} that fitted every label; means over networks (intervals: tables/kinds.csv).",
            _table(own),
        )
    )


def _table(own):
    rows = []
    for kind, name in INPUTS.items():
        row = {"inputs": name}
        for labels in LABELS:
            values = own[(own["labels"] == labels) & (own["inputs"] == kind)]
            for column, title in (
                ("mean_confidence", "confidence"),
                ("entropy", "entropy, nats"),
                ("auroc_vs_test", "AUROC"),
            ):
                row[f"{title}, {labels}"] = number(values[column].mean()) if len(values) else "n/a"
        rows.append(row)
    return pd.DataFrame(rows)
