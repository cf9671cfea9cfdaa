"""True against shuffled labels at the same training loss: how soon it is reached, how far apart, and how sharp."""

import numpy as np

from experiments.local_minima.populations import absent, at_loss, by_width, pairs, width_axis
from experiments.local_minima.sources import KRUEGER, OURS, STRUCTURE, TALK
from memo.commands.evidence import Evidence
from memo.reporting import figures
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.report import Figure, number, with_interval
from memo.statistics import over_networks
from memo.statistics.intervals import paired_ratio
from memo.statistics.over_seeds import times_longer

ARM = "twins"
# Training losses at which twins are compared, in nats; a start has about 2.3. The last one counts as a minimum.
LEVELS = (1.0, 0.2)
DEEP = LEVELS[-1]
AT_DEEP = f"at a training loss of {DEEP:g}"
PAIRS = "n counts pairs of networks"


def chapter(evidence: Evidence) -> Chapter:
    """Return the claims and figures on what structure changes."""
    made = Chapter()
    networks = by_width(evidence, ARM)
    if networks.empty:
        return made
    frame = at_loss(networks, evidence.tables["curves"], evidence.tables["sharpness_along"], LEVELS)
    final = networks[["trial", "seed", "width", "labels", "final_train_loss", "final_test_loss"]]
    widths = [int(width) for width in frame["width"].unique()]
    found = {width: _of_width(evidence, frame, final, width) for width in widths}
    for name in next(iter(found.values())):
        for width in widths:
            claim, estimate, note = found[width][name]
            made.rows.append((claim, estimate, "; ".join(filter(None, (note, absent(evidence, ARM, width))))))
    _draw(evidence, frame, found, widths, made)
    made.tables["at_matched_loss"] = frame.drop(columns="trial")
    made.tables["twins_final"] = final.drop(columns="trial")
    ends = list(dict.fromkeys((widths[0], widths[-1])))
    for name, begin, end in (
        (f"longer-{DEEP:g}", "Shuffled labels take so many", "times the steps of true ones to that training loss"),
        (
            f"sharper-{DEEP:g}",
            "With shuffled labels the largest Hessian eigenvalue is so many",
            "times that with true ones",
        ),
    ):
        told = [(width, found[width][name][1]) for width in ends]
        words = [f"{with_interval(estimate)} at width {width}" for width, estimate in told if estimate is not None]
        if words:
            made.findings.append(f"<b>Structure, {AT_DEEP}.</b> {begin} {end}: {' and '.join(words)}.")
    images = int(networks["dataset.n_train"].iloc[0])
    made.methods.append(
        f"Twins: networks with the same start and order of minibatches on true and on shuffled labels of the same {images:,} "
        "images; all starts share these images and one shuffling. What is compared at a training loss is taken where a curve "
        f"first reaches it ({' and '.join(f'{level:g}' for level in LEVELS)} nats), linear between evaluations; the largest "
        "Hessian eigenvalue of the training loss (Lanczos, 20 products) linear in the logarithms of loss and eigenvalue "
        "between its measurements. Ratios of spreads: seeds resampled as pairs."
    )
    return made


def spread_ratio(true_and_shuffled: np.ndarray) -> np.ndarray:
    """Return sd / mean of shuffled over that of true, for pairs [2, ..., n], true first, [...]."""
    below, above = (over_networks.relative_sd(values) for values in true_and_shuffled)
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below > 0)[()]


def _of_width(evidence, frame, final, width):
    """Return by name (claim, estimate, note) of one width."""
    found, condition = {}, f"width {width}"

    def claim(name, source, statement, quantity, accept, direction, figure="structure"):
        return Claim(f"{name}-{width}", source, statement, quantity, accept, direction, figure, "", condition)

    for level in LEVELS:
        steps = pairs(frame, width, "step", level)
        given = pairs(frame, width, "given", level)["shuffled"]
        estimate, note = times_longer(steps["shuffled"], steps["true"], given, "shuffled", "curve on true labels")
        text = f"steps to a training loss of {level:g}, shuffled over true labels"
        one = claim(f"longer-{level:g}", TALK, STRUCTURE, text, (2, np.inf), (1.001, np.inf))
        found[f"longer-{level:g}"] = one, estimate, _join(PAIRS, note)
    for level in LEVELS:
        tops = pairs(frame, width, "top", level)
        text = f"largest Hessian eigenvalue at a training loss of {level:g}, shuffled over true labels"
        statement = "Minima of true labels are flatter than those of random ones."
        one = claim(f"sharper-{level:g}", KRUEGER, statement, text, (1.2, np.inf), (1.001, np.inf))
        found[f"sharper-{level:g}"] = one, *_ratio(tops, paired_ratio)
    for name, values, text in (
        ("test-spread", pairs(frame, width, "test_loss", DEEP), f"the test loss {AT_DEEP}"),
        ("time-spread", pairs(frame, width, "step", DEEP), "the steps to that loss"),
        ("depth-spread", pairs(final, width, "final_train_loss"), "the training loss at the end"),
    ):
        statement = f"{STRUCTURE} If so, minima of shuffled labels lie further apart."
        text = f"standard deviation / mean of {text}, shuffled over true labels"
        one = claim(name, OURS, statement, text, (1.1, np.inf), (1.001, np.inf))
        found[name] = (
            one,
            *_ratio(values, lambda shuffled, true: over_networks.jackknife(spread_ratio, [true, shuffled])),
        )
    return found


def _ratio(values, estimate):
    whole = values.dropna()
    missing = len(values) - len(whole)
    note = f"{missing} of {len(values)} pairs have a curve that never gets there" if missing else ""
    if not len(whole):
        return None, note or "no pair of networks"
    return estimate(whole["shuffled"], whole["true"]), _join(PAIRS, note)


def _join(*parts):
    return "; ".join(filter(None, parts))


def _draw(evidence, frame, found, widths, made):
    figure, [places] = figures.grid(1, 4, width=2.75, height=2.8)
    deep = frame[frame["level"] == DEEP]
    for place, column, title, label in (
        (places[0], "step", f"steps to a loss of {DEEP:g}", "optimiser steps"),
        (places[1], "test_loss", "test loss there", "nats"),
        (places[2], "top", "sharpness there", "largest Hessian eigenvalue"),
    ):
        for kind, shift in (("true", 0.93), ("shuffled", 1.075)):
            own = deep[(deep["labels"] == kind) & deep[column].notna()]
            place.plot(
                own["width"] * shift,
                own[column],
                linestyle="",
                marker=figures.MARKERS[kind],
                markersize=3,
                alpha=0.6,
                color=figures.LABELS[kind],
                label=f"{kind} labels",
            )
        if not deep[column].notna().any():
            place.text(0.5, 0.5, "never reached", transform=place.transAxes, ha="center", color="0.4")
            place.set_yticks([])
        figures.log_axis(place)
        width_axis(place, widths)
        place.set(title=title, ylabel=label)
    for name, text, marker, shade in (
        ("test-spread", "test loss", "o", "#000000"),
        ("time-spread", "steps", "s", "#009E73"),
        ("depth-spread", "final training loss", "^", "#CC79A7"),
    ):
        for width in widths:
            estimate = found[width][name][1]
            if estimate is not None and np.isfinite(estimate.value):
                at = width * {"o": 0.93, "s": 1.0, "^": 1.075}[marker]
                figures.interval(places[3], at, estimate, marker=marker, color=shade, label=text, linestyle="")
    places[3].axhline(1, **figures.CHANCE_LINE)
    figures.log_axis(places[3])
    width_axis(places[3], widths)
    places[3].set(title="relative spread", ylabel="sd / mean, shuffled over true")
    figures.legend(places[3])
    figures.shared_legend(figure, places[0])
    told = []
    for name, words in ((f"longer-{DEEP:g}", "steps"), (f"sharper-{DEEP:g}", "largest Hessian eigenvalue")):
        estimates = [found[width][name][1] for width in widths]
        values = [estimate.value for estimate in estimates if estimate is not None]
        if values:
            bound = "at least " if any(e is not None and e.high == np.inf for e in estimates) else ""
            told.append(f"{words}: {bound}{number(min(values))} to {number(max(values))} times by width")
    reached = deep.groupby("labels")["step"].apply(lambda steps: int(steps.notna().sum())).to_dict()
    counts = deep.groupby("labels").size().to_dict()
    share = ", ".join(
        f"{reached[kind]} of {counts[kind]} on {kind} labels" for kind in ("true", "shuffled") if kind in counts
    )
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "structure"),
            "The same training loss, with structure and without",
            (
                f"Shuffled over true labels, {AT_DEEP}: {'; '.join(told)}. "
                if told
                else f"Twins cannot be compared {AT_DEEP}: not both kinds get there. "
            )
            + f"Networks that reached it: {share}. Dots: networks. Right: how much wider, relative to the mean, networks on "
            "shuffled labels are spread, with intervals.",
            "Steps, test loss and sharpness at one training loss by width and labels, and ratios of spread.",
        )
    )
