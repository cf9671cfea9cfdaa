"""The negative gradient: the fastest way down, which weights matter most, and steps that get smaller."""

import numpy as np
from scipy import stats

from experiments.digits.sources import TALK
from memo.commands.evidence import Evidence
from memo.reporting import figures
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.report import Figure, number, with_interval
from memo.statistics.intervals import mean_interval

ARM = "nielsen"
STAGES = ("start", "middle", "end")
LAYERS = {1: "784 → 16", 2: "16 → 16", 3: "16 → 10"}


def chapter(evidence: Evidence) -> Chapter:
    """Return the claims and figures on the gradient."""
    made = Chapter()
    rows = evidence.of(ARM, "gradients_along")
    whole = rows[rows["layer"] == 0]
    steps = np.sort(whole["step"].unique())
    at = dict(zip(STAGES, (steps[0], steps[len(steps) // 2], steps[-1])))
    stage = {name: whole[whole["step"] == step].sort_values("seed").set_index("seed") for name, step in at.items()}
    statement = "The negative gradient is the direction of steepest descent: 'it decreases the function most quickly'."
    for name, own in stage.items():
        claim = Claim(
            f"steepest-{name}",
            TALK,
            statement,
            "cost decrease per unit step, down the gradient over the best of 100 random directions",
            (2, np.inf),
            (1.001, np.inf),
            "gradient",
            condition=_words(name),
        )
        best = own["slope_random_best"].where(own["slope_random_best"] > 0)
        made.rows.append((claim, *evidence.mean(ARM, own["slope_gradient"] / best)))
    statement = "The components of the gradient say 'which changes to which weights matter the most'."
    for share in (1, 10):
        for name, own in stage.items():
            ratio = own[f"decrease_top_{share}"] - own[f"decrease_random_{share}"]
            claim = Claim(
                f"top-{share}-{name}",
                TALK,
                statement,
                f"cost decrease when the largest {share} % of the components move, minus as many random ones, in shares of "
                "the decrease when all do",
                (0.1, np.inf),
                (0.001, np.inf),
                "gradient",
                condition=_words(name),
            )
            made.rows.append((claim, *evidence.mean(ARM, ratio / own["decrease_full"].where(own["decrease_full"] > 0))))
            claim = Claim(
                f"norm-top-{share}-{name}",
                TALK,
                statement,
                f"share of the squared gradient in the largest {share} % of its components",
                (0.2 if share == 1 else 0.6, 1),
                (0.05 if share == 1 else 0.2, 1),
                "gradient",
                condition=_words(name),
            )
            made.rows.append((claim, *evidence.mean(ARM, own[f"share_top_{share}"])))
    statement = "Steps are proportional to the slope, so that they 'get smaller and smaller' toward the minimum."
    smaller = stage["end"]["step_length"] / stage["start"]["step_length"]
    claim = Claim(
        "steps-shrink",
        TALK,
        statement,
        "length of a step at the end over that at the start",
        (0, 0.5),
        (0, 0.999),
        "steps",
    )
    made.rows.append((claim, *evidence.mean(ARM, smaller)))
    shrink = stage["end"]["norm"] / stage["start"]["norm"]
    claim = Claim(
        "slope-shrinks",
        TALK,
        statement,
        "norm of the full gradient at the end over that at the start",
        (0, 0.5),
        (0, 0.999),
        "steps",
    )
    made.rows.append((claim, *evidence.mean(ARM, shrink)))
    along = [
        stats.spearmanr(own["cost"], own["step_length"]).statistic if len(own) > 2 else np.nan
        for _, own in whole.groupby("seed")
    ]
    claim = Claim(
        "steps-follow-cost",
        TALK,
        statement,
        "rank correlation of step length and cost along training",
        (0.7, 1),
        (0.001, 1),
        "steps",
    )
    made.rows.append((claim, *evidence.mean(ARM, along)))
    if len(whole):
        made.findings.append(
            f"<b>Steps.</b> With a constant learning rate a step of gradient descent is at the end "
            f"{with_interval(evidence.mean(ARM, smaller)[0])} times as long as at the start, and the full gradient "
            f"{with_interval(evidence.mean(ARM, shrink)[0], count=False)} times."
        )
    _draw_gradient(evidence, rows, stage, made)
    _draw_steps(evidence, whole, made)
    made.methods.append(
        "Gradients: of the cost over 1,000 of each network's own training images. Random directions: 100, uniform on the "
        "sphere, with the same short step (1e-4 of the norm of all weights) for them and for the gradient. Largest "
        "components: one step of the recipe's learning rate along the full gradient, in which only they move; random ones: "
        "mean over 20 draws. Step length: learning rate times the mean gradient norm of 20 minibatches of 10."
    )
    return made


def _words(stage):
    return {"start": "before training", "middle": "middle of training", "end": "end of training"}[stage]


def _draw_gradient(evidence, rows, stage, made):
    figure, [places] = figures.grid(1, 3, width=3.5, height=2.7)
    slopes, moved, sizes = places
    colors = {"start": "0.55", "middle": "#009E73", "end": "#0072B2"}
    for position, own in enumerate(stage.values()):
        for offset, column, color, words in (
            (-0.15, "slope_gradient", "#D55E00", "down the gradient"),
            (0.15, "slope_random_best", "0.5", "best of 100 random directions"),
        ):
            values = own[column].where(own[column] > 0).dropna()  # on a log axis
            if len(values):
                style = {"color": color, "marker": "o", "linestyle": "", "label": words if position == 0 else None}
                figures.interval(slopes, position + offset, mean_interval(values), **style)
        full = own["decrease_full"].where(own["decrease_full"] > 0)
        for offset, column, color, words in (
            (-0.24, "decrease_top_1", "#D55E00", "largest 1 %"),
            (-0.08, "decrease_random_1", "#E69F00", "random 1 %"),
            (0.08, "decrease_top_10", "#0072B2", "largest 10 %"),
            (0.24, "decrease_random_10", "#56B4E9", "random 10 %"),
        ):
            values = (own[column] / full).dropna()
            if len(values):
                style = {"color": color, "marker": "o", "linestyle": "", "label": words if position == 0 else None}
                figures.interval(moved, position + offset, mean_interval(values), **style)
    for place, title in ((slopes, "cost decrease per unit step"), (moved, "cost decrease, share of all moving")):
        place.set_xticks(range(len(stage)), [_words(name).replace(" ", "\n", 1) for name in stage], fontsize=8)
        place.set(title=title)
        place.legend(fontsize=7)
    slopes.set_yscale("log")
    slopes.margins(y=0.15)
    moved.axhline(0, color="0.6", linewidth=1)
    quantiles = {"q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99, "largest": 1.0}
    for name, own in stage.items():
        step = own["step"].iloc[0] if len(own) else None
        for layer, dash in zip(LAYERS, ("-", (0, (5, 1.5)), (0, (1.5, 1.5)))):
            part = rows[(rows["layer"] == layer) & (rows["step"] == step)]
            values = part[list(quantiles)].mean()
            label = f"{LAYERS[layer]}, {_words(name)}" if name == "end" else None
            sizes.plot(range(len(quantiles)), values, color=colors[name], linestyle=dash, label=label)
    sizes.set_yscale("log")
    sizes.set_xticks(range(len(quantiles)), ["10 %", "50 %", "90 %", "99 %", "largest"], fontsize=8)
    sizes.set(title="size of components, by layer", xlabel="quantile")
    sizes.legend(fontsize=7)
    start, end = stage["start"], stage["end"]
    ratio = (start["slope_gradient"] / start["slope_random_best"].where(start["slope_random_best"] > 0)).mean()
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "gradient"),
            "The gradient against random directions, and its largest components against random ones",
            f"Before training a step down the gradient lowers the cost {number(ratio)} times as much as the best of 100 random "
            f"directions (left). The largest tenth of its components carries {number(start['share_top_10'].mean())} of its "
            f"squared length before training and {number(end['share_top_10'].mean())} at the end; moving them alone gives the "
            "shares in the middle. Right: quantiles of the absolute components of each layer (solid: first, dashed: second, "
            "dotted: last; grey before, green in the middle, blue at the end of training); those that are exactly 0 belong to "
            f"pixels that are always black and fall below the axis. Means with 95 % intervals, n = {len(start)} networks.",
            "Decrease of the cost along the gradient against random directions; effect and size of its components.",
        )
    )


def _draw_steps(evidence, whole, made):
    figure, [places] = figures.grid(1, 3, width=3.2, height=2.5)
    titles = {"cost": "cost", "norm": "norm of the full gradient", "step_length": "length of a step"}
    for place, (column, title) in zip(places, titles.items()):
        for _, own in whole.groupby("seed"):
            place.plot(own["epoch"], own[column], color="#0072B2", alpha=0.25, linewidth=0.8)
        place.plot(whole.groupby("epoch")[column].mean(), "o-", color="#D55E00", linewidth=1.8, markersize=3.5)
        place.set(title=title, yscale="log")
        figures.epoch_axis(place, whole["epoch"].max() if len(whole) else 1)
    first, last = (whole[whole["step"] == whole["step"].agg(which)] for which in ("min", "max"))
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "steps"),
            "Steps toward the minimum",
            f"From the start to the end of training the length of a step falls from {number(first['step_length'].mean())} to "
            f"{number(last['step_length'].mean())} while the cost falls from {number(first['cost'].mean())} to "
            f"{number(last['cost'].mean())}: minibatches of ten keep it from falling as the full gradient does "
            f"({number(first['norm'].mean())} to {number(last['norm'].mean())}). Thin: n = {whole['seed'].nunique()} networks; "
            "orange: means where they were measured. Logarithmic above, epochs linear up to a tenth.",
            "Cost, gradient norm and step length along training.",
        )
    )
