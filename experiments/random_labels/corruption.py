"""What changes from true to random labels in between: time to fit, test error, the shape of the curves (figure 1b, 1c)."""

import numpy as np
import pandas as pd

from experiments.random_labels.fitting import name_of
from experiments.random_labels.networks import RANDOM, RANDOM_DEEP, TRUE, TRUE_DEEP, ZHANG, Networks
from memo.commands.evidence import Evidence
from memo.data import datasets
from memo.measures import nearest_neighbours
from memo.reporting import figures, palette, panels
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.palette import Mark
from memo.reporting.panels import CHANCE
from memo.reporting.report import Figure, number, with_interval
from memo.statistics.curve_summary import SHAPES
from memo.statistics.intervals import paired_ratio
from memo.statistics.over_seeds import over_pairs, over_seeds
from memo.statistics.trends import by_level, smallest_ratio, smallest_step

CHANGED = 1 - CHANCE  # of redrawn labels that really change
FACTORS = {"t99": "99 %", "t999": "99.9 %"}


def chapter(evidence: Evidence, networks: Networks) -> Chapter:
    """Return the claims and figures along the axis of corruption."""
    made = Chapter()
    one = along(networks, "one_true", "one_corrupted")
    made.tables["corruption"] = one.drop(columns="trial")
    neighbours = _neighbours(evidence)
    _noise_curve(networks, one, neighbours, made)
    _slow_down(networks, one, made)
    _draw_errors(evidence, one, neighbours, made)
    _draw_times(evidence, networks, one, made)
    _draw_shapes(evidence, one, made)
    return made


def along(networks: Networks, true: str, corrupted: str) -> pd.DataFrame:
    """Return the networks of two arms with column `p`, the probability with which each label was redrawn, ascending."""
    both = networks.frame[networks.frame["arm"].isin([true, corrupted])]
    p = np.where(both["labels"] == "true", 0.0, both["fraction"])
    return both.assign(p=p).sort_values(["p", "seed"], ignore_index=True)


def _neighbours(evidence):
    """Return by seed and level the test error of 1-nearest-neighbour with the labels that the networks were given."""
    images, true = evidence.test_images("one_true")
    pixels, rows, errors = evidence.dataset.train_images, {}, []
    trials = evidence.tables.arms.merge(evidence.tables.trials, on="trial")
    for arm in ("one_true", "one_corrupted"):
        given = evidence.training_sets(arm)
        for trial in trials[trials["arm"] == arm].to_dict("records"):
            own, labels = given[trial["trial"]]
            seed = trial["seed"]
            if seed not in rows:  # all levels of a seed have its images
                rows[seed] = own, nearest_neighbours.nearest(images, pixels[own])[1]
            if not np.array_equal(rows[seed][0], own):
                raise ValueError(f"The levels of corruption of seed {seed} have different images.")
            p = 0.0 if trial["labels.kind"] == "true" else trial["labels.fraction"]
            errors.append({"seed": seed, "p": p, "error": float(np.mean(labels[rows[seed][1]] != true))})
    return by_level(pd.DataFrame(errors), "error", "p")


def _noise_curve(networks, one, neighbours, made):
    statement = "At every level of corruption the training set is fitted, and test error grows steadily to chance."
    name = name_of(networks, TRUE)
    test = by_level(one, "test_error", "p")
    for p in test.columns:
        conditions = TRUE if p == 0 else {"arm": "one_corrupted", "fraction": p}
        claim = Claim(
            f"Z2-fits-{p:g}",
            ZHANG,
            statement,
            "training accuracy",
            (0.99, 1),
            None,
            "corruption",
            condition=f"p = {p:g}",
        )
        made.rows.append((claim, *networks.mean("train_accuracy", conditions)))
    claim = Claim(
        "Z2-rises", ZHANG, statement, "smallest mean rise of the test error from one level to the next", (0.0001, 1), None,
        "corruption", condition="all levels",
    )  # fmt: skip
    made.rows.append((claim, *over_seeds(test, estimate=smallest_step)))
    claim = Claim(
        "Z2-ends",
        ZHANG,
        statement,
        "test error",
        (0.89, 0.91),
        None,
        "corruption",
        condition=f"p = {test.columns[-1]:g}",
    )
    made.rows.append((claim, *over_seeds(test.iloc[:, -1])))
    images = int(one["n"].iloc[0])
    claim = Claim(
        "Z2-begins", "inferred for 60,000 images", statement, "test error of the whole training set", (0.013, 0.022), None,
        "corruption", condition="p = 0",
    )  # fmt: skip
    whole = images == datasets.MNIST.train_images
    here = f"for all 60,000 images; here {with_interval(over_seeds(test.iloc[:, 0])[0])} with {images:,}"
    made.rows.append((claim, *(over_seeds(test.iloc[:, 0]) if whole else (None, here))))

    statement = "A label redrawn uniformly is the old one in one case of ten: a share 0.9 p really changes."
    for p in test.columns[1:]:
        low, high = (round(CHANGED * p + margin, 4) for margin in (-0.02, 0.02))
        claim = Claim(
            f"sanity-changed-{p:g}", "this suite", statement, "share of labels that change", (low, high), None, "corruption",
            condition=f"p = {p:g}",
        )  # fmt: skip
        made.rows.append((claim, *networks.mean("changed", {"arm": "one_corrupted", "fraction": p})))

    statement = "While noise is fitted the signal is kept: the network is better than one that only remembers."
    differences = {}
    for p in [p for p in test.columns if 0 < p < 1]:
        claim = Claim(
            f"Z2-nearest-{p:g}", "protocol after Zhang et al. 2017", statement, "test error, network − 1-nearest-neighbour",
            (-1, -0.0001), None, "corruption", condition=f"p = {p:g}",
        )  # fmt: skip
        differences[p], note = over_pairs(test[p], neighbours[p])
        made.rows.append((claim, differences[p], note))
    best = by_level(one, "best_test_error", "p")
    middle = [p for p in test.columns if 0 < p < 1]
    if middle:
        p = middle[len(middle) // 2]
        made.findings.append(
            f"<b>Corruption.</b> {name} with a share p of {images:,} labels redrawn: test error from "
            f"{with_interval(over_seeds(test.iloc[:, 0])[0])} at p = 0 to {with_interval(over_seeds(test.iloc[:, -1])[0], count=False)} at "
            f"p = {test.columns[-1]:g}. At p = {p:g} it is {with_interval(over_seeds(test[p])[0], count=False)}, "
            f"minus that of 1-nearest-neighbour {with_interval(differences[p], count=False)}; stopped at its best epoch it would "
            f"be {with_interval(over_seeds(best[p])[0], count=False)}."
        )


def _slow_down(networks, one, made):
    statement = "Fitting random labels takes longer by only a small constant factor."
    images = int(one["n"].iloc[0])
    answers = {}
    for time, level in FACTORS.items():
        for depth, true, random in (("1", TRUE, RANDOM), ("3", TRUE_DEEP, RANDOM_DEEP)):
            claim = Claim(
                f"Z3-factor-{time}-{depth}", ZHANG, statement, f"epochs to {level} training accuracy, random / true labels",
                (0, 5), None, "slowdown", condition=name_of(networks, true),
            )  # fmt: skip
            estimate, note = networks.longer(time, random, true, ("random-label", "curve on true labels"))
            answers[time, depth] = estimate
            count = f"for {images:,} images; the factor depends on their number"
            made.rows.append((claim, estimate, "; ".join(filter(None, (note, count)))))
    statement = "The more labels are random, the longer fitting takes."
    for time, level in FACTORS.items():
        claim = Claim(
            f"Z3-monotone-{time}", ZHANG, statement, f"smallest mean ratio of epochs to {level} from one level to the next",
            (1.0001, np.inf), None, "slowdown", condition="all levels",
        )  # fmt: skip
        made.rows.append((claim, *over_seeds(by_level(one, time, "p"), estimate=smallest_ratio)))
    made.findings.append(
        f"<b>Slow-down.</b> {name_of(networks, TRUE)} takes {with_interval(answers['t99', '1'])} times as many epochs to 99 % "
        f"on {images:,} random labels as on true ones, {name_of(networks, TRUE_DEEP)} {with_interval(answers['t99', '3'])} "
        "times; the factor depends on the number of images."
    )


def _draw_errors(evidence, one, neighbours, made):
    figure, [[train, test]] = figures.grid(1, 2, width=4.2, height=3.2)
    levels = by_level(one, "test_error", "p")
    accuracy = 1 - by_level(one, "train_accuracy", "p")
    series = [
        (train, accuracy, palette.VERMILION, "s", "training error"),
        (test, levels, palette.BLUE, "o", "network, all labels fitted"),
        (test, by_level(one, "best_test_error", "p"), palette.SKY, "v", "network, best epoch"),
        (test, neighbours, palette.ORANGE, "D", "1-nearest-neighbour"),
    ]
    for place, table, color, marker, words in series:
        panels.means(place, table, Mark(words, color, marker), joined=True)
    ends = np.array([0, 1])
    test.plot(ends, CHANGED * ends, **palette.REFERENCE, label="labels changed, 0.9 p")
    train.set(ylim=(-0.02, 1), ylabel="training error at the end")
    test.set(ylim=(0, 1), ylabel="test error")
    for place in (train, test):
        place.set(xlabel="p: share of labels redrawn", xlim=(-0.05, 1.05))
    figures.legend(test, loc="upper left")
    gains = (levels - by_level(one, "best_test_error", "p")).mean().dropna()
    gain = f"up to {number(gains.max())}, at p = {gains.idxmax():g}" if len(gains) else "n/a"
    n = len(levels)
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "corruption"),
            "Test error at convergence against corruption (the paper's figure 1c)",
            f"Mean training errors at the end reach at most {number(accuracy.mean().max())}; the test error is "
            f"{', '.join(f'{number(levels[p].mean())} at p = {p:g}' for p in levels)}. Stopping at the best epoch (chosen on "
            f"the test images, so optimistic) would take off {gain}. "
            f"Points: means with 95 % intervals, n = {n} seeds, networks and neighbours with the same images and labels; "
            "test labels are true ones. Dotted: the share of labels that really change.",
            "Training and test error against the share of labels redrawn, beside 1-nearest-neighbour.",
        )
    )


def _draw_times(evidence, networks, one, made):
    figure, [[epochs, ratio]] = figures.grid(1, 2, width=4.2, height=3.1)
    tables = {name_of(networks, TRUE): one}
    deep = along(networks, "three_true", "three_corrupted")
    if len(deep):
        tables[name_of(networks, TRUE_DEEP)] = deep
    said = []
    for (name, table), color in zip(tables.items(), (palette.BLUE, palette.VERMILION)):
        for (time, level), marker in zip(FACTORS.items(), ("o", "^")):
            times = by_level(table, time, "p")
            panels.means(epochs, times, Mark(f"{name}, {level}", color, marker), joined=True)
            if 0 not in times:
                continue
            for p in times.columns[1:]:
                pairs = times[[0, p]].dropna()
                if len(pairs):
                    estimate = paired_ratio(pairs[p], pairs[0])
                    style = {"color": color, "marker": marker, "linestyle": ""}
                    figures.interval(ratio, p, estimate, label=f"{name}, {level}", **style)
                    if p == times.columns[-1]:
                        said.append(f"{name}, {level}: {with_interval(estimate)}")
    figures.log_axis(epochs)
    ratio.axhline(5, **palette.REFERENCE)
    ratio.text(0.02, 5.1, "5: small constant factor", fontsize=8, color="0.4")
    epochs.set(ylabel="epochs to the level")
    ratio.margins(y=0.1)
    ratio.set_ylim(bottom=0)
    ratio.set_ylabel("times as many as at p = 0")
    for place in (epochs, ratio):
        place.set(xlabel="p: share of labels redrawn", xlim=(-0.05, 1.05))
    figures.shared_legend(figure, epochs, 2)
    images = int(one["n"].iloc[0])
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "slowdown"),
            "Time to fit against corruption (the paper's figure 1b)",
            f"Random labels against true ones, epochs to a level of training accuracy: {'; '.join(said) or 'not reached'}. "
            f"With {images:,} images; the ratio depends on their number. Time to fit: the first epoch, between evaluations "
            "by interpolation, at which a full pass over the training set is right for 99 or 99.9 % of the labels; one "
            f"constant learning rate for all. Points: means (right: geometric means of ratios within seeds) with 95 % "
            "intervals over the seeds that get there.",
            "Epochs to 99 and 99.9 % training accuracy against corruption, and their ratios to true labels.",
        )
    )


def _draw_shapes(evidence, one, made):
    figure, axes = figures.grid(2, 4, width=2.6, height=2.3)
    said = []
    for row, kind in zip(axes, ("loss", "accuracy")):
        for place, (measure, (title, straight)) in zip(row, SHAPES.items()):
            table = by_level(one, f"{kind}_{measure}", "p")
            panels.means(place, table, Mark(title, palette.BLUE if kind == "loss" else palette.GREEN, "o"), joined=True)
            place.axhline(straight, **palette.REFERENCE)
            place.set(xlim=(-0.05, 1.05))
            if kind == "loss":
                place.set_title(title)
            else:
                place.set_xlabel("p: labels redrawn")
            ends = [over_seeds(table[p])[0] for p in (table.columns[0], table.columns[-1])]
            if measure in ("area", "linearity"):
                said.append(
                    f"{title} of the {kind}, {with_interval(ends[0], count=False)} at p = {table.columns[0]:g} and "
                    f"{with_interval(ends[1], count=False)} at p = {table.columns[-1]:g}"
                )
        row[0].set_ylabel(f"training {kind}")
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "shapes"),
            "The shape of the training curve along corruption",
            f"{said[0][0].upper()}{'; '.join(said)[1:]}. Measured as in the headline experiment: the loss until 90 % of it is lost, the accuracy "
            f"from chance to 99 %. Points: means with 95 % intervals over the seeds that get there, of n = "
            f"{one['seed'].nunique()}; dotted: a straight line.",
            "Statistics of the shape of training curves against the share of labels redrawn.",
        )
    )
    made.findings.append(f"<b>Shape.</b> {said[0][0].upper()}{said[0][1:]}; {said[1]}.")
