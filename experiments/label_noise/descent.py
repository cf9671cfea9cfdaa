"""Double descent: test loss by width and by epoch, with true and with partly wrong labels, at the end and where validation would stop."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.label_noise.networks import WIDTHS, WIDTHS_NOISY
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.statistics.intervals import geometric_mean
from memo.statistics.over_seeds import LOST, Answer, over_pairs, over_seeds
from memo.statistics.trends import by_level
from memo.storage.run_folders import Tables

# Widths between which claims compare: below the threshold, at it (as many parameters as images times classes), far beyond it.
BELOW, THRESHOLD, BEYOND = 12, 50, 1000
LACKING = f"this run lacks the widths {BELOW}, {THRESHOLD} or {BEYOND:,}"
MEASURES = {"loss": "test_loss", "error": "test_error"}
LINES = {
    (WIDTHS_NOISY, "last_loss"): Mark("wrong labels, at the end", palette.VERMILION, "s", palette.SOLID),
    (WIDTHS_NOISY, "stopped_loss"): Mark("wrong labels, stopped", palette.ORANGE, "D", palette.DASHED),
    (WIDTHS, "last_loss"): Mark("true labels, at the end", palette.BLUE, "o", palette.SOLID),
    (WIDTHS, "stopped_loss"): Mark("true labels, stopped", palette.SKY, "v", palette.DOTTED),
}


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return by network its width and its test loss when stopped and at the end, and the curves of the widest on noisy labels."""
    own = evidence.trials[evidence.trials["arm"].isin([WIDTHS, WIDTHS_NOISY])]
    widths = own["model.widths"].map(lambda each: int(each[0]))
    curves = dict(list(evidence.tables.curves[evidence.tables.curves["trial"].isin(own["trial"])].groupby("trial")))
    rows = [turns(curves[trial].sort_values("step")) for trial in own["trial"]]
    networks = own[["trial", "arm", "seed"]].assign(width=widths).join(pd.DataFrame(rows, index=own.index))
    wide = networks[(networks["arm"] == WIDTHS_NOISY) & (networks["width"] == networks["width"].max())]
    columns = ["trial", "seed", "step", "epoch", "train_accuracy", "test_loss", "test_accuracy", "validation_loss"]
    parts = [
        curves[trial][columns[:1] + columns[2:]].assign(seed=seed) for trial, seed in zip(wide["trial"], wide["seed"])
    ]
    epochs = pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
    return {"networks": networks, "epochs": epochs.sort_values(["trial", "step"], ignore_index=True)}


def turns(curve: pd.DataFrame) -> dict[str, float]:
    """Return of one curve, ascending, the test loss and error where validation turns: at its least loss, its highest later, and the end.

    `stopped`: at the least validation loss after step 0; `highest`: at the highest one from there on.
    """
    after = curve[curve["step"] > 0].reset_index(drop=True)
    least = int(after["validation_loss"].argmin())
    highest = least + int(after["validation_loss"][least:].to_numpy().argmax())
    places = {"stopped": least, "highest": highest, "last": len(after) - 1}
    found = {f"{name}_epoch": float(after["epoch"][place]) for name, place in places.items()}
    for name, place in places.items():
        found[f"{name}_loss"] = float(after["test_loss"][place])
        found[f"{name}_error"] = 1 - float(after["test_accuracy"][place])
    return found


def losses(networks: pd.DataFrame, arm: str, column: str) -> pd.DataFrame:
    """Return a column of an arm's networks, [seeds, widths] ascending."""
    return by_level(networks[networks["arm"] == arm].dropna(subset="width"), column, "width")


def excess(losses: pd.DataFrame, one: int, other: int) -> pd.Series:
    """Return the loss at one width minus that at another, by seed; none where one of them is missing."""
    return losses[one] - losses[other] if {one, other} <= set(losses) else pd.Series(dtype=float)


def answer(tables: Tables, answers: Answers) -> None:
    """Answer whether test loss has a peak at the threshold, what noise and stopping do to it, and whether it falls again with training."""
    networks = tables["networks"]
    answers.trained_on(networks[networks["arm"] == WIDTHS_NOISY])
    noisy, stopped = (losses(networks, WIDTHS_NOISY, name) for name in ("last_loss", "stopped_loss"))
    clean = losses(networks, WIDTHS, "last_loss")
    answers.give("peak-rises", _mean(excess(noisy, THRESHOLD, BELOW)))
    answers.give("peak-falls", _mean(excess(noisy, THRESHOLD, BEYOND)))
    answers.give("peak-width", peak_width(noisy))
    peaks = chosen(noisy)
    highest = at(noisy, peaks["top"])
    answers.give("elsewhere-rises", _mean(highest - at(noisy, peaks["low"])))
    falls = {
        name: at(own, peaks["top"]) - own.get(BEYOND, np.nan) for name, own in (("noisy", noisy), ("clean", clean))
    }
    answers.give("elsewhere-falls", _mean(falls["noisy"].reindex(peaks.index)))
    more = over_pairs(falls["noisy"].reindex(peaks.index), falls["clean"].reindex(peaks.index), LOST)
    answers.give("peak-noise", more if len(peaks) and BEYOND in clean else (None, LACKING))
    when_stopped = at(stopped, peaks["top"])
    answers.give("stopped-peak", _mean((when_stopped - stopped.get(BEYOND, np.nan)).reindex(peaks.index)))
    answers.give("stopped-gains", _mean(highest - when_stopped))
    wide = networks[(networks["arm"] == WIDTHS_NOISY) & (networks["width"] == BEYOND)].set_index("seed")
    for name in MEASURES:
        for what, one, other in (("rises", "highest", "stopped"), ("falls", "highest", "last")):
            found = wide[f"{one}_{name}"] - wide[f"{other}_{name}"]
            answers.give(f"epochs-{what}-{{measure}}", _mean(found), measure=name)


def _mean(values: pd.Series) -> Answer:
    return over_seeds(values, LOST) if len(values) else (None, LACKING)


def peak_width(losses: pd.DataFrame) -> Answer:
    """Return the width from BELOW on at which each seed's test loss is highest, between those trained; geometric mean over seeds."""
    beyond = losses[[width for width in losses if width >= BELOW]].dropna()
    if beyond.shape[1] < 3 or beyond.empty:
        return None, LACKING
    peaks = [vertex(beyond.columns.to_numpy(float), own) for own in beyond.to_numpy()]
    return over_seeds(peaks, LOST, estimate=geometric_mean, asked=len(losses))


def chosen(losses: pd.DataFrame) -> pd.DataFrame:
    """Return by seed two widths from BELOW on: `top`, where the mean loss of the other seeds is highest, and `low`, where it is lowest before.

    Chosen by the other seeds, a peak is none by choice. Empty where BEYOND or all other seeds are missing.
    """
    known = losses[[width for width in losses if width >= BELOW]].dropna()
    if BEYOND not in known or len(known) < 2:
        return pd.DataFrame(columns=["top", "low"])
    others = {seed: known.drop(index=seed).mean() for seed in known.index}
    return pd.DataFrame.from_dict(
        {seed: (own.idxmax(), own[: own.idxmax()].idxmin()) for seed, own in others.items()},
        orient="index",
        columns=["top", "low"],
    )


def at(losses: pd.DataFrame, widths: pd.Series) -> pd.Series:
    """Return by seed the loss at a width of its own; NaN where the seed or the width is missing."""
    return pd.Series({seed: losses[width].get(seed, np.nan) for seed, width in widths.items()}, dtype=float)


def vertex(widths: np.ndarray, losses: np.ndarray) -> float:
    """Return where the parabola through the highest of the losses [n] and its neighbours is highest, over the logarithm of widths [n].

    The highest of them lies on a grid, on which seeds agree exactly; at the end of the grid it is that end.
    """
    top = int(losses.argmax())
    if not 0 < top < len(losses) - 1:
        return float(widths[top])
    square, slope, _ = np.polyfit(np.log(widths[top - 1 : top + 2]), losses[top - 1 : top + 2], 2)
    return float(np.exp(-slope / (2 * square))) if square < 0 else float(widths[top])


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw test loss by width, and by epoch at the largest width."""
    networks, text = tables["networks"], Text("experiments.label_noise", "descent")
    own = networks[networks["arm"] == WIDTHS_NOISY]
    trial = evidence.asked_trials(WIDTHS_NOISY)[0]
    facts = {
        "rises": answers["peak-rises"],
        "falls": answers["peak-falls"],
        "width": answers["peak-width"],
        "up": answers["elsewhere-rises"],
        "down": answers["elsewhere-falls"],
        "noise": answers["peak-noise"],
        "stopped": answers["stopped-peak"],
        "lowest": {name: losses(networks, WIDTHS_NOISY, f"{name}_loss").mean() for name in ("last", "stopped")},
        "gains": answers["stopped-gains"],
        "again": answers["epochs-falls-loss"],
        "again_error": answers["epochs-falls-error"],
        "below": BELOW,
        "threshold": THRESHOLD,
        "beyond": BEYOND,
        "widest": int(own["width"].max()),
        "recipe": trial.recipe,
        "images": int(own["images"].max()),
        "seeds": own["seed"].nunique(),
        "share": trial.recipe.labels.fraction,
    }
    drawn = draw_losses(networks, tables["epochs"])
    return Chapter(
        title="Double descent",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(figures.save(drawn, evidence.folder, "descent"), **facts)],
        methods=[text.block("methods", **facts)],
    )


def draw_losses(networks: pd.DataFrame, epochs: pd.DataFrame) -> Drawing:
    """Return test loss by width, at the end and when stopped, and loss and error of the widest networks by epoch."""
    figure, [[left, middle, right]] = figures.grid(1, 3, width=3.6, height=3.0)
    for (arm, column), mark in LINES.items():
        panels.means(left, losses(networks, arm, column), mark, joined=True)
    widths = sorted(int(width) for width in networks["width"].dropna().unique())
    figures.count_axis(left, widths)
    left.axvline(THRESHOLD, **palette.REFERENCE)
    left.set(xlabel="hidden units", ylabel="test loss", ylim=(0, None))
    figures.shared_legend(figure, left)
    shown = epochs.assign(test_error=1 - epochs["test_accuracy"], train_error=1 - epochs["train_accuracy"])
    mark = LINES[WIDTHS_NOISY, "last_loss"]
    for axes, column, name in ((middle, "test_loss", "test loss"), (right, "test_error", "test error")):
        panels.mean_line(axes, shown[shown["step"] > 0], column, label=name, **mark.line)
        figures.epoch_axis(axes, shown["epoch"].max())
        axes.set(title=f"{max(widths, default=0):,} hidden units, wrong labels", ylabel=name, ylim=(0, None))
    panels.mean_line(
        right,
        shown[shown["step"] > 0],
        "train_error",
        label="training error",
        color=palette.GREY,
        linestyle=palette.DASHED,
    )
    right.set_ylabel("error")
    figures.legend(right)
    return figure
