"""Far from the data: does confidence go to 1 as noise is scaled up, as Hein et al. prove of ReLU networks?"""

import numpy as np

from experiments.noise_confidence.populations import COLORS, DASHES, INPUTS, distinct, networks, rows_of
from memo.commands.evidence import Evidence
from memo.probes.out_of_distribution import FACTORS
from memo.reporting import figures, palette
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.panels import CHANCE
from memo.reporting.report import Figure, with_interval
from memo.statistics.intervals import mean_interval
from memo.statistics.trends import smallest_step

HEIN = "Hein et al. 2019"
SCALED = {1: "uniform", **{factor: f"uniform_x{factor}" for factor in FACTORS}}
TWINS = ("true", "shuffled")
LOSSES = {"cross_entropy": "softmax, cross-entropy", "squared_error": "sigmoid outputs, squared error"}


def chapter(evidence: Evidence) -> Chapter:
    """Return the claims and figures on scaled noise."""
    made = Chapter()
    trials = networks(evidence, "functions")
    table = rows_of(evidence.tables.out_of_distribution, trials, "labels", "model.activation", "loss")
    table = table[table["inputs"].isin(SCALED.values())]
    activations = distinct(evidence, "model.activation", "functions")
    made.tables["scaled"] = table[
        ["trial", "seed", "labels", "model.activation", "loss", "inputs", "mean_confidence", "share_above_0.999"]
    ]
    relu = "For ReLU networks confidence goes to 1 far from the data."
    saturate = "Networks of saturating units settle far from the data and need not reach 1."
    for activation in activations:
        for labels in TWINS:
            own = table[
                (table["model.activation"] == activation)
                & (table["labels"] == labels)
                & (table["loss"] == "cross_entropy")
            ]
            sure = own.pivot(index="seed", columns="inputs", values="mean_confidence")
            share = own.pivot(index="seed", columns="inputs", values="share_above_0.999")
            condition = f"{activation}, {labels} labels"
            name = f"{activation}-{labels}"
            if activation == "relu":
                rows = [
                    (
                        f"far-{name}",
                        relu,
                        "share of uniform noise × 100 with a confidence of at least 0.999",
                        (0.95, 1),
                        (0.5, 1),
                        share.get(SCALED[100]),
                    ),
                    (
                        f"monotone-{name}",
                        relu,
                        "smallest mean step of the confidence from × 5 to × 10 to × 100",
                        (-0.001, np.inf),
                        None,
                        sure[[SCALED[5], SCALED[10], SCALED[100]]] if len(sure) else None,
                    ),
                ]
            else:
                rows = [
                    (
                        f"settles-{name}",
                        saturate,
                        "mean confidence on uniform noise, × 100 − × 10",
                        (-0.02, 0.02),
                        None,
                        sure[SCALED[100]] - sure[SCALED[10]] if len(sure) else None,
                    ),
                    (
                        f"short-{name}",
                        saturate,
                        "share of uniform noise × 100 with a confidence of at least 0.999",
                        (0, 0.95),
                        None,
                        share.get(SCALED[100]),
                    ),
                ]
            for name_, statement, quantity, accept, direction, values in rows:
                claim = Claim(name_, HEIN, statement, quantity, accept, direction, "scaled", condition=condition)
                known = np.empty(0) if values is None else values.dropna().to_numpy().T
                estimate = None if not known.size else smallest_step(*known) if known.ndim > 1 else mean_interval(known)
                made.rows.append((claim, estimate, "" if estimate else "every network diverged"))
    _draw(table, activations, evidence, made)
    made.methods.append(
        f"Scaled noise: the same uniform images times 1, 2, 5, 10 and 100. Networks of width {', '.join(distinct(evidence, 'width', 'functions'))} "
        "(two layers), Glorot start, Adam with one learning rate for all, until every training label is fitted or epochs run out; outputs under squared error "
        "are sigmoids of their own, and confidence is the largest. The theorem is about softmax. That saturating units need "
        "not reach 1 is our reading of why it is about ReLU, and its ranges are ours."
    )
    return made


def _draw(table, activations, evidence, made):
    figure, axes = figures.grid(len(LOSSES), len(activations), width=3.0, height=2.3, sharex=True, sharey=True)
    for row, (loss, words) in zip(axes, LOSSES.items()):
        for place, activation in zip(row, activations):
            for labels in TWINS:
                own = table[
                    (table["loss"] == loss) & (table["model.activation"] == activation) & (table["labels"] == labels)
                ]
                sure = own.pivot(index="seed", columns="inputs", values="mean_confidence").reindex(
                    columns=list(SCALED.values())
                )
                style: palette.Style = {"color": COLORS[labels], "linestyle": DASHES[labels]}
                for _, values in sure.iterrows():
                    place.plot(list(SCALED), values, linewidth=0.8, alpha=0.5, **style)
                if len(sure):
                    place.plot(
                        list(SCALED),
                        sure.mean(),
                        linewidth=2,
                        marker="o",
                        markersize=4,
                        label=f"{labels} labels",
                        **style,
                    )
            place.axhline(CHANCE, **palette.REFERENCE)
            place.set(xscale="log", ylim=(0, 1.03))
            place.set_xticks(list(SCALED), [f"{factor}" for factor in SCALED])
            place.minorticks_off()
        row[0].set_ylabel(f"mean confidence\n{words}", fontsize=8.5)
    for above, below, activation in zip(axes[0], axes[-1], activations):
        above.set_title(activation)
        below.set_xlabel("uniform noise times")
    figures.shared_legend(figure, axes[0][0])
    spoken = []
    for activation in activations:
        own = table[
            (table["loss"] == "cross_entropy")
            & (table["model.activation"] == activation)
            & (table["inputs"] == SCALED[100])
        ]
        for labels in TWINS:
            values = own[own["labels"] == labels]["share_above_0.999"].dropna()
            if len(values):
                spoken.append(f"{activation}, {labels} labels {with_interval(mean_interval(values))}")
    sentence = (
        f"Share of {INPUTS['uniform_x100']} that is answered with a confidence of at least 0.999, under softmax: "
    )
    if spoken:
        made.findings.append(f"<b>Far away.</b> {sentence}{'; '.join(spoken)}.")
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "scaled"),
            "Confidence far from the data",
            f"{sentence}{'; '.join(spoken) or 'no network is left'}. Thick: means over networks; thin: networks. Dotted: even "
            "doubt between ten classes.",
            "Mean confidence on uniform noise against its scale, by activation, loss and labels.",
        )
    )
