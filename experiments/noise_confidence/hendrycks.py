"""The MNIST row of Hendrycks and Gimpel 2017: confidence as a baseline for errors and for inputs that are no digits."""

import numpy as np
import pandas as pd

from experiments.noise_confidence.populations import networks, rows_of
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.panels import CHANCE
from memo.reporting.report import Figure, Shown, with_interval
from memo.statistics.curve_summary import training_images
from memo.statistics.intervals import mean_interval

HENDRYCKS = "Hendrycks and Gimpel 2017"
# In per cent, as printed in the paper and by the authors' notebook; None: not given.
PRINTED = {
    "test error": (1.69, 1.48),
    "mean confidence, all test images": (None, 99.5),
    "mean confidence, right answers": (None, 99.8),
    "mean confidence, wrong answers": (86, 84.8),
    "wrong answers told by confidence, AUROC": (97, 97.8),
    "wrong answers told by confidence, AUPR": (48, 43.9),
    "N(0, 1) noise: AUROC": (90, 88.3),
    "N(0, 1) noise: AUROC, right answers only": (None, 89.1),
    "N(0, 1) noise: mean confidence": (91, 91.7),
    "uniform noise: AUROC": (99, 97.9),
    "uniform noise: AUROC, right answers only": (None, 98.6),
    "uniform noise: mean confidence": (83, 88.1),
}
NOISES = {"normal": "N(0, 1) noise", "uniform": "uniform noise"}


def chapter(evidence: Evidence) -> Chapter:
    """Return the row beside the paper's, its claims and its figure."""
    made = Chapter()
    trials = networks(evidence, "hendrycks")
    measured = measure(evidence, trials)
    made.tables["hendrycks"] = measured.reset_index()
    _claims(evidence, measured, made)
    made.shown.append(_table(measured))
    _draw(evidence, trials, measured, made)
    if len(trials):
        recipe = trials.iloc[0]
        images = training_images(recipe)
        made.methods.append(
            f"Hendrycks and Gimpel's network: {'-'.join(map(str, (784, *recipe['model.widths'], 10)))}, "
            f"{recipe['model.activation'].upper()}, Adam with learning rate {recipe['optimizer.learning_rate']:g}, times "
            f"{recipe['optimizer.decay']:g} for the last third of {recipe['epochs']} epochs, L2 "
            f"{recipe['optimizer.weight_decay']:g}, batches of {recipe['batch_size']}, {images:,} images, n = {len(trials)}. "
            "Unlike theirs: LeCun's start (their columns of weights have lengths 0.84, 1.08, 1.08 and 0.84, ours about 1) and L2 "
            "on the last layer too. Tolerances: error AUROC ± 1 point, N(0, 1) ± 4, uniform ± 2, fixed before these runs."
        )
    return made


def measure(evidence: Evidence, trials: pd.DataFrame) -> pd.DataFrame:
    """Return the quantities of PRINTED by seed, as shares of 1."""
    own = rows_of(evidence.tables.calibration, trials).set_index("seed").sort_index()
    columns = {
        "test error": 1 - own["accuracy"],
        "mean confidence, all test images": own["mean_confidence"],
        "mean confidence, right answers": own["mean_confidence_right"],
        "mean confidence, wrong answers": own["mean_confidence_wrong"],
        "wrong answers told by confidence, AUROC": own["error_auroc"],
        "wrong answers told by confidence, AUPR": own["error_aupr"],
    }
    noise = rows_of(evidence.tables.out_of_distribution, trials)
    for kind, name in NOISES.items():
        rows = noise[noise["inputs"] == kind].set_index("seed").sort_index()
        columns |= {
            f"{name}: AUROC": rows["auroc_vs_test"],
            f"{name}: AUROC, right answers only": rows["auroc_vs_right"],
            f"{name}: mean confidence": rows["mean_confidence"],
        }
    return pd.DataFrame(columns)[list(PRINTED)]


def _claims(evidence, measured, made):
    detects = "Confidence tells wrong answers from right ones, and noise from digits."
    sure = "Networks are confident of noise, if less so than of digits."
    everywhere = measured["mean confidence, all test images"]
    rows = [
        ("error", "The network learns MNIST.", "test error", (0.012, 0.02), (0, 0.03), measured["test error"]),
        (
            "errors",
            detects,
            "wrong answers told by confidence, AUROC",
            (0.965, 0.985),
            (0.8, 1),
            measured["wrong answers told by confidence, AUROC"],
        ),
        ("normal-auroc", detects, "AUROC, N(0, 1) noise", (0.85, 0.93), (0.6, 1), measured["N(0, 1) noise: AUROC"]),
        ("uniform-auroc", detects, "AUROC, uniform noise", (0.96, 1), (0.6, 1), measured["uniform noise: AUROC"]),
    ]
    for kind, name in NOISES.items():
        confidence = measured[f"{name}: mean confidence"]
        rows += [
            (f"{kind}-sure", sure, f"mean confidence, {name}", (0.8, 0.95), (0.75, 1), confidence),
            (
                f"{kind}-less",
                sure,
                f"mean confidence, test images − {name}",
                (0.01, 1),
                (0.0001, 1),
                everywhere - confidence,
            ),
        ]
    for name, statement, quantity, accept, direction, values in rows:
        claim = Claim(f"hendrycks-{name}", HENDRYCKS, statement, quantity, accept, direction, "hendrycks")
        made.rows.append((claim, *evidence.mean("hendrycks", values)))


def _percent(value):
    return "" if value is None else f"{value:g}"


def _table(measured):
    rows = []
    for name, (paper, notebook) in PRINTED.items():
        values = 100 * measured[name].dropna()
        here = with_interval(mean_interval(values), count=False) if len(values) else "n/a"
        rows.append((name, _percent(paper), _percent(notebook), here))
    frame = pd.DataFrame(rows, columns=["MNIST, in %", "the paper", "the authors' notebook, one run", "here"])
    return Shown(
        "Hendrycks and Gimpel's row for MNIST",
        f"Means with 95 % intervals over n = {len(measured)} networks. AUPR of wrong answers: chance is the test error.",
        frame,
    )


def _draw(evidence, trials, measured, made):
    rows = rows_of(evidence.tables.out_of_distribution, trials)
    figure, [[spread, beside]] = figures.grid(1, 2, width=4.6, height=3.1)
    styles = {
        "test": ("test images", palette.BLACK, "-"),
        "normal": ("N(0, 1) noise", palette.PURPLE, (0, (5, 1.5))),
        "uniform": ("uniform noise", palette.GREEN, (0, (1.5, 1.5))),
    }
    for kind, (name, color, dashes) in styles.items():
        histograms = rows[rows["inputs"] == kind]["histogram"]
        if not len(histograms):
            continue
        counts = np.stack(histograms.to_list()).astype(float)
        shares = np.cumsum(counts, axis=1) / counts.sum(axis=1, keepdims=True)
        edges = np.linspace(0, 1, counts.shape[1] + 1)
        for number_, share in enumerate(shares):
            label = name if number_ == 0 else None
            spread.plot(
                edges, np.append(0, share), color=color, linestyle=dashes, linewidth=1.1, alpha=0.7, label=label
            )
    spread.axvline(CHANCE, **palette.REFERENCE)
    spread.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence", ylabel="share of inputs with less")
    figures.legend(spread, loc="upper left")
    names = list(PRINTED)[3:]
    for height, name in enumerate(names[::-1]):
        values = measured[name].dropna()
        if len(values):
            beside.scatter(
                100 * values, np.full(len(values), height), s=14, color=palette.BLUE, alpha=0.6, linewidths=0
            )
        for value, marker, label in zip(PRINTED[name], ("D", "x"), ("the paper", "the authors' notebook")):
            if value is not None:
                beside.scatter(
                    value,
                    height,
                    marker=marker,
                    color=palette.VERMILION,
                    s=26,
                    label=label if height == 0 else None,
                    zorder=3,
                )
    beside.scatter([], [], s=14, color=palette.BLUE, label="networks here")
    beside.scatter([], [], marker="D", color=palette.VERMILION, s=26, label="the paper")
    beside.scatter([], [], marker="x", color=palette.VERMILION, s=26, label="the authors' notebook")
    beside.set_yticks(
        range(len(names)), [name.replace("wrong answers told by confidence", "errors") for name in names[::-1]]
    )
    beside.tick_params(axis="y", labelsize=7.5)
    figures.legend(beside, fontsize=7.5, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3)
    beside.set(xlabel="%")

    def spoken(name):
        values = 100 * measured[name].dropna()
        return with_interval(mean_interval(values), count=False) if len(values) else "n/a"

    first = (
        f"N(0, 1) noise is answered with a mean confidence of {spoken('N(0, 1) noise: mean confidence')} %, uniform noise with "
        f"{spoken('uniform noise: mean confidence')} %, test images with {spoken('mean confidence, all test images')} %"
    )
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "hendrycks"),
            "Hendrycks and Gimpel's network: confidence on noise, and their row beside ours",
            f"{first} (n = {len(measured)}). Left: cumulated distributions, a line a network. Right: networks here beside what "
            "was printed; chance is 50 % for AUROC of noise and of errors, and the test error for AUPR.",
            "Distributions of confidence of the GELU network, and its statistics beside the paper's.",
        )
    )
    if len(measured):
        made.findings.append(
            f"<b>Hendrycks and Gimpel's network</b> (n = {len(measured)}): {first}; the paper prints "
            f"{PRINTED['N(0, 1) noise: mean confidence'][0]} and {PRINTED['uniform noise: mean confidence'][0]} % for the "
            f"noises. AUROC of wrong answers {spoken('wrong answers told by confidence, AUROC')} % "
            f"(paper {PRINTED['wrong answers told by confidence, AUROC'][0]}), of N(0, 1) noise "
            f"{spoken('N(0, 1) noise: AUROC')} % (paper {PRINTED['N(0, 1) noise: AUROC'][0]}), of uniform noise "
            f"{spoken('uniform noise: AUROC')} % (paper {PRINTED['uniform noise: AUROC'][0]})."
        )
