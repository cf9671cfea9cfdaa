"""A random image in, confident nonsense out; and what changes when the cost gives an incentive to doubt."""

import numpy as np
import pandas as pd

from experiments.digits.sources import ARM_NAMES, TALK
from memo.commands.evidence import Evidence, paired
from memo.measures import calibration
from memo.probes import answers
from memo.reporting import figures, panels
from memo.reporting.figures import INPUT_NAMES, INPUTS
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.report import Figure, number, with_interval
from memo.statistics.intervals import mean_interval, paired_difference

ARMS = ("nielsen", "chosen", "relu")
NOISE = ("uniform", "gaussian", "random_pixels")


def chapter(evidence: Evidence) -> Chapter:
    """Return the claims and figures on noise, and on doubt."""
    made = Chapter()
    _noise(evidence, made)
    _doubt(evidence, made)
    return made


def _of_kind(evidence, arm, kind):
    rows = evidence.of(arm, "confidence")
    return rows[rows["inputs"] == kind].set_index("seed")


def _same_class_gap(evidence, arm, kind):
    """Return by seed: confidence on noise, and on test images that are called the same, each class as often as noise is."""
    noise, test = _of_kind(evidence, arm, kind), _of_kind(evidence, arm, "test")
    shares = noise[[f"share_class_{k}" for k in range(10)]].to_numpy()
    digits = test[[f"mean_confidence_class_{k}" for k in range(10)]].to_numpy()
    counted = np.where(shares > 0, shares * digits, 0).sum(1)
    return pd.DataFrame({"noise": noise["mean_confidence"], "digits": counted}, index=noise.index)


def _noise(evidence, made):
    as_sure = "It is 'as sure that this random noise is a five as … that an actual image of a five is a five'."
    evenly = "One would hope that noise 'does not activate any of the outputs strongly, or activates all evenly'."
    confidently = "'It confidently gives you some nonsense answer.'"
    for arm in ARMS:
        words = ARM_NAMES[arm]
        uniform = _of_kind(evidence, arm, "uniform")
        gap = _same_class_gap(evidence, arm, "uniform")
        rows = [
            (
                "as-sure",
                as_sure,
                "mean confidence, uniform noise − test images called the same",
                (-0.05, np.inf),
                (-0.2, np.inf),
                gap["noise"] - gap["digits"],
            ),
            (
                "confident-noise",
                confidently,
                "mean confidence on uniform noise",
                (0.75, 1),
                (0.5, 1),
                uniform["mean_confidence"],
            ),
            (
                "never-even",
                evenly,
                "share of uniform noise that activates all outputs evenly (entropy above 95 % of the most)",
                (0, 0.05),
                None,
                uniform["share_even"],
            ),
            (
                "never-silent",
                evenly,
                "share of uniform noise that activates no output above 0.5",
                (0, 0.05),
                None,
                uniform["share_below_0.5"],
            ),
            (
                "one-answer",
                confidently,
                "share of uniform noise that gets the network's most frequent answer",
                (0.5, 1),
                (0.2, 1),
                uniform[[f"share_class_{k}" for k in range(10)]].max(axis=1),
            ),
        ]
        for name, statement, quantity, accept, direction, values in rows:
            claim = Claim(f"{name}-{arm}", TALK, statement, quantity, accept, direction, "noise", condition=words)
            made.rows.append((claim, *evidence.mean(arm, values)))
    _draw_noise(evidence, made)
    _draw_called(evidence, made)
    figure = panels.sample_strip({"true": _first_samples(evidence)})
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "samples", dense=True),
            "Inputs as a network sees them, with its answers",
            "The first network of Nielsen's recipe (seed 0) gives every input an answer; in brackets its confidence in "
            "per cent: the largest of its ten outputs.",
            "Test images and noise with the answer and confidence of one network.",
        )
    )
    gap = _same_class_gap(evidence, "nielsen", "uniform")
    if len(gap.dropna()):
        sure = mean_interval(gap["noise"].dropna())
        digits = mean_interval(gap["digits"].dropna())
        made.findings.append(
            f"<b>Noise.</b> With Nielsen's recipe the mean confidence on uniform noise is {with_interval(sure)}; on test "
            f"images that get the same answers it is {with_interval(digits, count=False)}."
        )


def _first_samples(evidence):
    rows = evidence.of("nielsen", "noise_samples")
    return rows[rows["seed"] == rows["seed"].min()]


def _draw_noise(evidence, made):
    figure, [places] = figures.grid(1, len(ARMS), width=2.8, height=2.8, sharey=True)
    kinds = list(NOISE)
    for place, arm in zip(places, ARMS):
        for position, kind in enumerate(kinds):
            gap = _same_class_gap(evidence, arm, kind).dropna()
            for _, row in gap.iterrows():
                place.plot(
                    [position - 0.2, position + 0.2], row[["digits", "noise"]], color="0.85", linewidth=0.7, zorder=0
                )
            for offset, column, color, words in (
                (-0.2, "digits", INPUTS["test"], "test images with the same answers"),
                (0.2, "noise", INPUTS["uniform"], "noise"),
            ):
                if len(gap):
                    place.scatter(
                        np.full(len(gap), position + offset), gap[column], s=6, color=color, alpha=0.4, linewidths=0
                    )
                    style = {"color": color, "marker": "o", "linestyle": "", "label": words}
                    figures.interval(place, position + offset, mean_interval(gap[column]), **style)
        place.axhline(panels.CHANCE, **figures.CHANCE_LINE)
        names = [INPUT_NAMES[kind].replace(", ", ",\n").replace(" noise", "\nnoise") for kind in kinds]
        place.set_xticks(range(len(kinds)), names, fontsize=8)
        place.set(title=ARM_NAMES[arm], ylim=(0, 1.03))
    places[0].set_ylabel("mean confidence")
    figures.shared_legend(figure, places[0])
    spoken = []
    for arm in ARMS:
        gap = _same_class_gap(evidence, arm, "uniform").dropna()
        if len(gap):
            spoken.append(f"{ARM_NAMES[arm]} {with_interval(paired_difference(gap['noise'], gap['digits']))}")
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "noise"),
            "As sure of noise as of digits?",
            f"Mean confidence on uniform noise minus that on test images with the same answers: {'; '.join(spoken)}. Each "
            "network is compared with itself: of the test images, those that it calls what it calls the noise, each answer "
            "weighted by how often noise gets it. Small dots: networks; large ones: means with 95 % intervals; dotted: even "
            "doubt between ten classes under softmax.",
            "Mean confidence on kinds of noise beside test images with the same answers, by recipe.",
        )
    )


def _draw_called(evidence, made):
    figure, [places] = figures.grid(1, len(ARMS), width=2.8, height=2.6, sharey=True)
    favourite, most = {}, {}
    for place, arm in zip(places, ARMS):
        shares = _of_kind(evidence, arm, "uniform")[[f"share_class_{k}" for k in range(10)]].dropna().to_numpy()
        if not len(shares):
            continue
        shares = shares[np.lexsort((-shares.max(1), shares.argmax(1)))]
        place.imshow(shares, aspect="auto", cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        place.grid(visible=False)
        place.set(title=ARM_NAMES[arm], xticks=range(10), yticks=[], xlabel="called")
        most[arm] = shares.max(1).mean()
        counts = np.bincount(shares.argmax(1), minlength=10)
        favourite[arm] = f"{ARM_NAMES[arm]}: most often {counts.argmax()} ({counts.max()} of {len(shares)} networks)"
    places[0].set_ylabel("networks")
    if places[0].images:
        figure.colorbar(places[0].images[0], ax=places, shrink=0.8).set_label("share of noise images")
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "called"),
            "What uniform noise is called",
            f"The most frequent answer to noise by network: {'; '.join(favourite.values())}; it gets a share of "
            f"{', '.join(number(share) for share in most.values())} of the noise on average. "
            "Rows: networks, sorted by their most frequent answer; shade: share of 10,000 noise images."
            if favourite
            else "No network is left to draw.",
            "Share of noise images called each digit, one row a network.",
        )
    )


def _doubt(evidence, made):
    statement = "Training gives it 'no incentive to be anything but utterly confident'."
    reliability = {}
    for arm in (*ARMS, "incentive"):
        _, true = evidence.test_images(arm)
        called, sure = answers.read(*evidence.answers(arm))
        correct = called == true[None]
        reliability[arm] = sure, correct
        if arm == "incentive":
            continue
        rows = [
            (
                "utterly-confident",
                "mean confidence on test images",
                (0.95, 1),
                (0.9, 1),
                sure.mean(1),
            ),
            (
                "over-confident",
                "mean confidence − accuracy on test images",
                (0.005, np.inf),
                (0.0001, np.inf),
                sure.mean(1) - correct.mean(1),
            ),
            (
                "calibration-error",
                "expected calibration error, 15 bins",
                (0.01, 1),
                None,
                [calibration.expected_calibration_error(s, c) for s, c in zip(sure, correct)],
            ),
        ]
        for name, quantity, accept, direction, values in rows:
            claim = Claim(
                f"{name}-{arm}", TALK, statement, quantity, accept, direction, "doubt", condition=ARM_NAMES[arm]
            )
            made.rows.append((claim, *evidence.mean(arm, values)))

    statement = "With an incentive (noise images labelled evenly among the training images) it learns to doubt."
    differences = {}
    for kind in NOISE:
        both = paired(
            _of_kind(evidence, "incentive", kind).reset_index(),
            _of_kind(evidence, "chosen", kind).reset_index(),
            "mean_confidence",
        ).dropna()
        differences[kind] = paired_difference(both["left"], both["right"]) if len(both) else None
        quantity = "mean confidence, with − without the incentive"
        claim = Claim(
            f"incentive-{kind}", "this suite", statement, quantity, (-1, -0.3), (-1, -0.001), "doubt",
            condition=INPUT_NAMES[kind],
        )  # fmt: skip
        made.rows.append((claim, differences[kind], evidence.absent("incentive") or ("" if len(both) else "no pairs")))
    last = evidence.tables.curves.sort_values("step").groupby("trial")["test_accuracy"].last().rename("accuracy")
    with_it, without = (evidence.of(arm).join(last, on="trial") for arm in ("incentive", "chosen"))
    both = paired(with_it, without, "accuracy")
    cost = paired_difference(both["left"], both["right"]) if len(both) else None
    claim = Claim(
        "incentive-cost", "this suite", statement, "test accuracy, with − without the incentive", (-0.005, np.inf), None,
        "doubt", condition="test images",
    )  # fmt: skip
    made.rows.append((claim, cost, evidence.absent("incentive") or ("" if len(both) else "no pairs")))
    made.findings.append(
        "<b>Doubt.</b> Half as many noise images as digits in every minibatch, labelled evenly, change the mean confidence "
        f"on uniform noise by {with_interval(differences['uniform'])}, on Gaussian noise, which it never saw, by "
        f"{with_interval(differences['gaussian'], count=False)}, and the accuracy by {with_interval(cost, count=False)}."
    )

    figure, [places] = figures.grid(1, 4, width=2.6, height=2.7)
    for place, (arm, (sure, correct)) in zip(places, reliability.items()):
        table = calibration.reliability(sure.ravel(), correct.ravel())
        kept = table["count"] >= 20
        place.plot([0, 1], [0, 1], color="0.6", linewidth=1)
        place.plot(table["confidence"][kept], table["accuracy"][kept], "o-", color="#0072B2", markersize=4)
        heights = table["count"] / table["count"].sum()
        place.bar(table["low"], heights, width=table["high"] - table["low"], align="edge", color="0.85", zorder=0)
        errors = [calibration.expected_calibration_error(s, c) for s, c in zip(sure, correct)]
        name = ARM_NAMES.get(arm, "with noise labelled evenly")
        place.set(
            title=f"{name}\nECE {number(float(np.mean(errors)))}", xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence"
        )
    places[0].set_ylabel("accuracy; share of images (grey)")
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "doubt"),
            "Confidence on test images against accuracy",
            "Blue: accuracy of the answers in each of 15 bins of confidence, all networks of a recipe together (bins of 20 "
            "answers and more); on the grey line confidence would be right. Grey bars: share of the answers in each bin. ECE: "
            "expected calibration error (Guo et al. 2017), mean over networks. "
            f"n = {', '.join(str(len(sure)) for sure, _ in reliability.values())} networks from left to right.",
            "Reliability diagrams by recipe.",
        )
    )
    made.methods.append(
        "Confidence is the largest of the ten outputs: sigmoid activations under squared error, which need not add up to 1, "
        "softmax probabilities under cross-entropy. The incentive: uniform noise drawn anew for every minibatch, half as many "
        "images as digits, with the target 0.1 for every output. Ranges for doubt are ours."
    )
