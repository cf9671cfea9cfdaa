"""What differs between learning true labels and memorising shuffled ones?

    python -m experiments.headline                 about 2 minutes on two cores
    python -m experiments.headline scale=quick     half a minute: the pipeline, not the finding
    python -m experiments.headline scale=paper     all 60,000 images: a GPU, or many hours

MLPs with two hidden layers of 16 to 512 units, each trained on true labels and, as its twin with the same initial
weights, images and minibatches, on shuffled ones. Expected at `standard` (3,000 images, 5 seeds): widths 64 and up
memorise every shuffled label, at a test accuracy of 0.10; they take 4 to 6 times as many epochs to 99 % as their
twins, along a loss curve that is almost a straight line.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from memo.commands import experiment
from memo.config import Config
from memo.data import datasets
from memo.networks.mlp import describe_widths
from memo.networks.status import DIVERGED
from memo.reporting import figures, panels
from memo.reporting.legacy import Claim, ledger
from memo.reporting.panels import CHANCE
from memo.reporting.report import Figure, Report, number, with_interval
from memo.statistics import over_seeds
from memo.statistics.curve_shape import loss_progress, shape
from memo.statistics.curve_summary import LEVELS, SHAPES, training_images
from memo.statistics.intervals import Estimate, binomial_band, mean_interval
from memo.statistics.over_seeds import KINDS
from memo.storage.run_folders import Tables

ZHANG, ARPIT, HENDRYCKS = "Zhang et al. 2017", "Arpit et al. 2017", "Hendrycks and Gimpel 2017"
TALK, TALK_ON_ARPIT = "the talk, of its digit network", "the talk, of Arpit et al. 2017"


def analyse(tables: Tables, config: Config, folder: Path) -> Report:
    """Return the report of the trials in `tables`, drawing its figures into `folder`."""
    trials = tables.trials.sort_values(["parameters", "seed"])
    trials["width"] = [describe_widths(widths, "×") for widths in trials["model.widths"]]
    trials["labels"] = trials["labels.kind"]
    trials["epochs_trained"] = trials["trial"].map(tables.curves.groupby("trial")["epoch"].max())
    facts = trials.set_index("trial")[["width", "labels"]]
    # A diverged network is counted (in the ledger's notes and under "not shown") and is part of no curve or mean.
    sound = trials[trials["status"] != DIVERGED]["trial"]
    curves = tables.curves[tables.curves["trial"].isin(sound)].join(facts, on="trial")
    confidence = tables.confidence.join(facts, on="trial")
    shapes = _shapes(curves, trials)
    summary = _summary(trials, shapes, confidence)
    widths = list(dict.fromkeys(trials["width"]))
    rows = list(_claims(trials, shapes, confidence, widths))
    answers = {claim.claim: estimate for claim, estimate, _ in rows}
    return Report(
        title=f"Learning and memorising: MLPs on true and on shuffled labels of {_data(trials)}",
        question="When a network memorises shuffled labels, what is different from when it learns true ones?",
        findings=_findings(trials, summary, answers, widths),
        ledger=ledger(rows),
        figures=_figures(tables.noise_samples, trials, curves, shapes, confidence, summary, widths, folder),
        summary=_summary_figure(trials, curves, confidence, widths[-1], folder),
        methods=_methods(trials),
        not_shown=_not_shown(trials),
        tables={"summary": summary, "shapes": shapes},
    )


def _data(trials: pd.DataFrame) -> str:
    """Return what the networks were shown, such as "MNIST" or "Fashion-MNIST with gaussian inputs"."""
    recipe = trials.iloc[0]
    name = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}.get(recipe["dataset.name"], recipe["dataset.name"])
    treated = recipe["inputs.kind"] != "natural"
    return name + (f" with inputs treated as {recipe['inputs.kind'].replace('_', ' ')}" if treated else "")


def _images(trials: pd.DataFrame) -> int:
    return training_images(trials.iloc[0])


def _memorised(trials: pd.DataFrame, widths: list[str]) -> list[str]:
    """Return the widths of which every network fitted every shuffled label."""
    least = trials[trials["labels"] == "shuffled"].fillna({"final_train_accuracy": 0}).groupby("width")
    return [width for width in widths if least["final_train_accuracy"].min()[width] == 1]


def _shapes(curves: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """Return one row a trial and kind of curve, times in epochs; NaN for diverged trials."""
    by_trial = dict(list(curves.groupby("trial")))
    rows = []
    for trial in trials.itertuples():
        for kind, level in LEVELS.items():
            facts = {"trial": trial.trial, "seed": trial.seed, "width": trial.width, "labels": trial.labels}
            measured = {}
            if trial.status != DIVERGED:
                curve = by_trial[trial.trial]
                measured = shape(curve["epoch"], curve[f"train_{kind}"], kind, level)
            rows.append(facts | {"curve": kind} | measured)
    return pd.DataFrame(rows).reindex(columns=[*facts, "curve", "t50", "t90", "t99", *SHAPES])


def _summary(trials: pd.DataFrame, shapes: pd.DataFrame, confidence: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each width, labels and quantity: its mean with interval and n."""
    keys = ["width", "labels"]
    finals = [f"final_{part}_{measure}" for part in ("train", "test") for measure in ("loss", "accuracy")]
    sure = confidence.melt([*keys, "inputs"], ["mean_confidence", "share_above_0.9", "auroc_vs_test"], "quantity")
    curve = shapes.melt([*keys, "curve"], ["t50", "t90", "t99", *SHAPES], "quantity")
    return over_seeds.summarise(
        pd.concat(
            [
                trials.melt(keys, finals, "quantity"),
                sure.assign(quantity=sure["quantity"] + "_" + sure["inputs"]),
                curve.assign(quantity=curve["curve"] + "_" + curve["quantity"]),
            ]
        )
    )


def _claims(
    trials: pd.DataFrame, shapes: pd.DataFrame, confidence: pd.DataFrame, widths: list[str]
) -> Iterator[tuple[Claim, Estimate | None, str]]:
    seeds = trials["seed"].nunique()
    curve = {kind: shapes[shapes["curve"] == kind] for kind in LEVELS}
    mean = partial(over_seeds.mean, seeds=seeds)
    difference = partial(over_seeds.difference, seeds=seeds)
    ratio = partial(over_seeds.ratio, seeds=seeds)

    def each_width(name, source, statement, quantity, accept, direction, figure, answer):
        for width in widths:
            condition = f"width {width}"
            claim = Claim(f"{name}-{width}", source, statement, quantity, accept, direction, figure, "", condition)
            yield claim, *answer(width=width)

    statement = "Networks fit random labels as perfectly as true ones."
    answer = partial(difference, trials, "final_train_accuracy")
    quantity = "training accuracy, shuffled − true"
    yield from each_width("memorises", ZHANG, statement, quantity, (-0.005, 0.005), None, "accuracy", answer)

    statement = "Networks that fitted random labels are no better than chance on test images."
    low, high = binomial_band(CHANCE, int(confidence["n"].iloc[0]))

    memorised = _memorised(trials, widths)
    unfitted = None, "not every network fitted its shuffled labels"

    def test_accuracy(width):
        if width not in memorised:
            return unfitted
        values = over_seeds.twins(trials, "final_test_accuracy", width)[["shuffled"]]
        inside = values["shuffled"].between(low, high).sum()
        note = f"{inside} of {len(values)} networks inside the 99 % binomial band, {low:.3f} to {high:.3f}"
        estimate, lost = over_seeds.over_seeds(values, asked=seeds)
        return estimate, "; ".join(filter(None, (note, lost)))

    quantity = "test accuracy, shuffled"
    yield from each_width("chance", ZHANG, statement, quantity, (0.09, 0.11), None, "accuracy", test_accuracy)
    if memorised:
        # A seed's networks share their shuffled labels, so they are averaged before seeds are counted.
        across = trials[trials["width"].isin(memorised) & (trials["labels"] == "shuffled")]
        values = across.groupby("seed")["final_test_accuracy"].mean()
        condition = "all widths that memorised"
        yield (
            Claim("chance-memorised", ZHANG, statement, quantity, (0.09, 0.11), None, "accuracy", "", condition),
            mean_interval(values),
            f"widths {', '.join(memorised)}, averaged within each seed",
        )

    statement = "True labels are learned faster than random ones."
    for time in ("t90", "t99"):
        quantity = f"epochs to {time[1:]} % training accuracy, shuffled / true"
        answer = partial(over_seeds.slowdown, curve["accuracy"], trials, time)
        accept, direction = (2, np.inf), (1, np.inf)
        name = f"faster-{time}"
        yield from each_width(name, ARPIT, statement, quantity, accept, direction, "shapes_accuracy", answer)
    statement = "Random labels take only a small constant factor longer."

    def factor(width, answer=answer):
        if width not in memorised:
            return unfitted
        estimate, note = answer(width=width)
        return estimate, "; ".join(
            filter(None, (note, f"for {_images(trials):,} images; the factor depends on their number"))
        )

    yield from each_width("constant-factor", ZHANG, statement, quantity, (0, 5), None, "shapes_accuracy", factor)

    statement = "On random labels the curve 'went down very, very slowly in almost a linear fashion'."
    for kind, own in curve.items():
        shown = f"training {kind}, shuffled"
        for name, quantity, accept, answer in (
            ("linear", "R² of a straight line", (0.98, 1), partial(mean, own, "linearity", "shuffled")),
            ("area", "area under the curve (straight line: 0.5)", (0.45, 0.55), partial(mean, own, "area", "shuffled")),
            ("straighter", "R² of a straight line", (0, np.inf), partial(difference, own, "linearity")),
        ):
            text = f"{quantity}, {shown}" + (" − true" if name == "straighter" else "")
            figure = f"shapes_{kind}"
            yield from each_width(f"{name}-{kind}", TALK_ON_ARPIT, statement, text, accept, None, figure, answer)

    statement = (
        "On structured labels it would 'fiddle around a little bit in the beginning, but then dropped very fast'."
    )
    for kind, own in curve.items():
        quantity = f"share of the time in the first tenth of the rise (straight line: 0.1), training {kind}, true"
        answer, figure = partial(mean, own, "early_share", "true"), f"shapes_{kind}"
        yield from each_width(f"fiddles-{kind}", TALK_ON_ARPIT, statement, quantity, (0.1, 1), None, figure, answer)
        quantity = f"steepest over mean slope, training {kind}, true / shuffled"
        answer, accept, direction = partial(ratio, own, "steepness", inverse=True), (2, np.inf), (1, np.inf)
        yield from each_width(f"steeper-{kind}", TALK_ON_ARPIT, statement, quantity, accept, direction, figure, answer)

    sure = confidence.pivot(index=["seed", "width", "labels"], columns="inputs", values="mean_confidence").reset_index()
    sure["gap"] = sure["uniform"] - sure["test"]
    statement = "Networks are confident of noise."
    for noise in ("uniform", "gaussian"):
        quantity = f"mean confidence on {figures.INPUT_NAMES[noise]}, true labels"
        answer, accept, direction = partial(mean, sure, noise, "true"), (0.75, 1), (0.5, 1)
        name = f"confident-{noise}"
        yield from each_width(name, HENDRYCKS, statement, quantity, accept, direction, "confidence", answer)
    statement = "It is 'as sure that this random noise is a five as … that an actual image of a five is a five'."
    quantity = "mean confidence, uniform noise − test images, true labels"
    answer = partial(mean, sure, "gap", "true")
    yield from each_width("as-sure", TALK, statement, quantity, (-0.05, np.inf), None, "confidence", answer)


def _fits(trials: pd.DataFrame, widths: list[str]) -> str:
    """Return the sentence on which widths fitted all shuffled labels, and how far the others came."""
    whole = _memorised(trials, widths)
    reached = trials[trials["labels"] == "shuffled"].groupby("width")["final_train_accuracy"].mean()
    rest = ", ".join(f"width {width} reaches {number(reached[width])}" for width in widths if width not in whole)
    labels = f"all {_images(trials):,} shuffled labels"
    sentence = f"At no width do all networks fit {labels}"
    if whole:
        sentence = f"At width {', '.join(whole)} all networks (n = {trials['seed'].nunique()}) fit {labels}"
    stop = trials["stop_at_train_accuracy"].iloc[0]
    end = f"when stopped at {stop:g}" if stop < 1 else f"within the {int(trials['epochs'].iloc[0])} epochs given"
    return sentence + (f"; {rest} {end}" if rest else "")


def _value(summary: pd.DataFrame, width: str, labels: str, quantity: str, *, count: bool = True) -> str:
    """Return one mean of the summary table with its interval, as text."""
    row = summary.set_index(["width", "labels", "quantity"]).loc[(width, labels, quantity)]
    estimate = Estimate(row["mean"], row["low"], row["high"], int(row["n"])) if row["n"] else None
    # Where seeds are missing, their number must stand even in a text that says n once for all.
    return with_interval(estimate, count=count or row["missing"] > 0)


def _findings(trials, summary, answers, widths):
    largest = widths[-1]
    value = partial(_value, summary, largest)
    chance = answers.get("chance-memorised")
    after = f" Accuracy on test images after that: {with_interval(chance)}; chance is 0.100." if chance else ""
    return [
        f"<b>Memorising.</b> {_fits(trials, widths)}.{after}",
        f"<b>Speed.</b> At width {largest} shuffled labels take {with_interval(answers[f'faster-t90-{largest}'])} times "
        "as many epochs to 90 % training accuracy as true ones, and "
        f"{with_interval(answers[f'faster-t99-{largest}'])} times as many to 99 %.",
        f"<b>Shape.</b> At width {largest} a straight line explains R² = {value('shuffled', 'loss_linearity')} of the "
        f"fall of the loss on shuffled labels, and {value('shuffled', 'accuracy_linearity')} of the rise of the accuracy; "
        f"on true labels {value('true', 'loss_linearity')} and {value('true', 'accuracy_linearity')}.",
        f"<b>Noise.</b> Trained on true labels, width {largest} answers uniform noise with a mean confidence of "
        f"{value('true', 'mean_confidence_uniform')} and test images with {value('true', 'mean_confidence_test')}; trained "
        f"on shuffled labels, {value('shuffled', 'mean_confidence_uniform')} and "
        f"{value('shuffled', 'mean_confidence_test')}.",
    ]


def _methods(trials):
    recipe = trials.iloc[0]
    changed = trials[trials["labels"] == "shuffled"]["labels.changed"].mean()
    return [
        f"Data: {_images(trials):,} training images of {_data(trials)}, a random draw for each seed; pixels "
        "divided by 255. Shuffled labels are a permutation of the subset's labels, so class counts are kept; test labels "
        f"are never touched. A share of {number(changed)} of the labels really changes.",
        f"Networks: {recipe['model.activation']}, {recipe['model.init']} initialisation; "
        f"{recipe['loss'].replace('_', '-')}; {recipe['optimizer.name']}, learning rate "
        f"{recipe['optimizer.learning_rate']:g}, momentum {recipe['optimizer.momentum']:g}, "
        f"{recipe['optimizer.schedule']} schedule, weight decay "
        f"{recipe['optimizer.weight_decay']:g}, batches of {recipe['batch_size']} "
        f"({_images(trials) // int(recipe['batch_size'])} steps an epoch; what is left of an epoch's order is dropped). "
        "The same settings for both kinds of labels.",
        f"Training ends {_ends(recipe)}. Accuracies and losses are "
        f"full passes of the fixed network, at about {recipe['evaluations']} steps spaced evenly on a log axis from a "
        "sixteenth of an epoch on. Between evaluations curves are linear.",
        "Pairs: the twins of one seed share initial weights, images and the order of minibatches; differences and ratios "
        "are taken within pairs.",
        "Intervals: 95 %, Student's t over seeds; fewer than 5 give no verdict. Ratios are geometric means, with intervals of "
        "their logarithms.",
        "Shape is measured from chance to 99 % training accuracy, and until 90 % of the initial training loss is lost. "
        "Area: under the curve, both axes scaled to 0..1. Steepest over mean slope: in a window of a twentieth of the "
        "span.",
        "Confidence is the largest softmax probability (under squared error, the largest output). Each network answers as "
        "many inputs of each kind as there are test images: uniform on [0, 1]; Gaussian with the data's mean and sd, "
        "clipped to [0, 1]; each test image with its pixels permuted on its own.",
        "Expected ranges: test accuracy 0.10 ± 0.01, a factor of 5 and a confidence of 0.75 are tolerances fixed before "
        "these runs for the claims of Zhang and of Hendrycks and Gimpel, whose data and networks differ. The others (0.005 "
        "in training accuracy, factor 2, R² 0.98, area 0.45 to 0.55, 0.05 in confidence) are ours: the sources give none.",
    ]


def _ends(recipe):
    stop, epochs = recipe["stop_at_train_accuracy"], int(recipe["epochs"])
    if np.isnan(stop):
        return f"after {epochs} epochs"
    reason = "every training label is fitted" if stop == 1 else f"training accuracy reaches {stop:g}"
    return f"when {reason}, or after {epochs} epochs"


def _not_shown(trials):
    diverged = int((trials["status"] == DIVERGED).sum())
    lines = [f"{diverged or 'None'} of the {len(trials)} networks diverged."]
    if _images(trials) < datasets.MNIST.train_images:
        lines.append(
            f"All {datasets.MNIST.train_images:,} images: here {_images(trials):,}. How much longer shuffled labels take depends "
            "on their number, so the verdict on the constant factor holds for this number only "
            "(<code>scale=paper</code> uses all)."
        )
    return [
        *lines,
        "One learning rate: the ratio of times to fit depends on it, and it is not tuned for each kind of labels.",
        "Width, depth and number of parameters are not told apart.",
        "The sources' own data and networks: Zhang et al. report CIFAR-10, Arpit et al. two layers of 4096, and neither "
        "gives intervals to compare with.",
    ]


def _figures(samples, trials, curves, shapes, confidence, summary, widths, folder):
    n, largest = trials["seed"].nunique(), widths[-1]
    value = partial(_value, summary, largest, count=False)
    chance = summary[(summary["labels"] == "shuffled") & (summary["quantity"] == "final_test_accuracy")]["mean"]
    return [
        Figure(
            _draw_curves(curves, widths, folder),
            "Learning curves",
            f"At width {largest} networks pass 90 % training accuracy after {value('true', 'accuracy_t90')} epochs on true "
            f"labels and after {value('shuffled', 'accuracy_t90')} on shuffled ones; their accuracies on test images are "
            f"{value('true', 'final_test_accuracy')} and {value('shuffled', 'final_test_accuracy')}. Lines: means over "
            f"n = {n} seeds; bands: all seeds. A network that has fitted every label keeps its last value, and a line ends "
            "when all its networks have. Time is linear up to a tenth of an epoch and logarithmic after it; the grey "
            "vertical line marks the end of the first epoch, the dotted line chance.",
            "Training and test accuracy by epoch, one column a width, for true and shuffled labels.",
        ),
        Figure(
            _draw_accuracy(trials, widths, folder),
            "Which capacity suffices",
            f"{_fits(trials, widths)} (left). On test images the networks trained on shuffled labels have mean accuracies "
            f"from {number(chance.min())} to {number(chance.max())} by width (right). Points: means with 95 % intervals, "
            f"n = {n}; grey band: where 99 % of the networks would lie if each test image were right with probability 0.1 "
            "on its own.",
            "Final training and test accuracy against width, for true and shuffled labels.",
        ),
        Figure(
            _draw_scaled(curves, shapes, widths, folder),
            "The same curves on a common, linear time axis",
            "Each curve until 90 % of the loss is lost (above) and until 99 % accuracy (below), with time as a share of "
            f"that span. At width {largest} R² of a straight line is {value('shuffled', 'loss_linearity')} for the loss on "
            f"shuffled labels and {value('true', 'loss_linearity')} on true ones; for the accuracy "
            f"{value('shuffled', 'accuracy_linearity')} and {value('true', 'accuracy_linearity')}. Thin lines: the n = {n} "
            "seeds, without networks that never get there; grey: a straight line.",
            "Loss lost and training accuracy against time scaled to the span, one column a width.",
        ),
        Figure(
            _draw_shapes(shapes, "loss", widths, folder),
            "The shape of the training-loss curve",
            f"At width {largest} the area under the curve of what is lost is {value('shuffled', 'loss_area')} on shuffled "
            f"labels and {value('true', 'loss_area')} on true ones (a straight line: 0.5), and the steepest stretch is "
            f"{value('shuffled', 'loss_steepness')} and {value('true', 'loss_steepness')} times the mean slope. Points: "
            "means with 95 % intervals over the seeds that get there; a missing point means that none does. Epochs until "
            "50, 90 and 99 % of the initial loss is lost, on a log axis; grey dotted: a straight line.",
            "Statistics of the shape of the loss curve by width for true and shuffled labels, with intervals.",
        ),
        Figure(
            _draw_shapes(shapes, "accuracy", widths, folder),
            "The shape of the training-accuracy curve",
            f"At width {largest} the area under the curve is {value('shuffled', 'accuracy_area')} on shuffled labels and "
            f"{value('true', 'accuracy_area')} on true ones, and the steepest stretch is "
            f"{value('shuffled', 'accuracy_steepness')} and {value('true', 'accuracy_steepness')} times the mean slope. "
            "Drawn as above.",
            "Statistics of the shape of the accuracy curve by width for true and shuffled labels, with intervals.",
        ),
        Figure(
            _draw_confidence(confidence, widths, folder),
            "Confidence on noise beside test images",
            f"Width {largest} with true labels answers uniform noise with a mean confidence of "
            f"{value('true', 'mean_confidence_uniform')}, and a share of {value('true', 'share_above_0.9_uniform')} of it "
            f"with more than 0.9; for test images these are {value('true', 'mean_confidence_test')} and "
            f"{value('true', 'share_above_0.9_test')}. Boxes: the middle half of the inputs; lines: 5 % to 95 %; white "
            f"dots: mean. Quantiles are averaged over n = {n} networks, each with {int(confidence['n'].iloc[0]):,} inputs "
            "a kind. Dotted: even doubt between ten classes.",
            "Distribution of confidence by kind of input, width and kind of labels.",
        ),
        Figure(
            _draw_samples(samples, trials, largest, folder),
            "What the networks call noise",
            f"The first inputs of each kind and the answers of the two twins of width {largest} (seed "
            f"{int(trials['seed'].min())}), with their confidence in per cent: blue, trained on true labels; orange, on "
            "shuffled ones.",
            "Strips of test images and noise with the answers of two networks.",
        ),
    ]


def _summary_figure(trials, curves, confidence, width, folder):
    return Figure(
        _draw_summary(curves, confidence, width, folder),
        "Learning and memorising",
        f"Accuracy on training and on test images along training, and confidence at its end, of networks of width {width} "
        f"on true and on shuffled labels. Means over n = {trials['seed'].nunique()} seeds; bands: all seeds; bars: 95 % "
        "intervals; dotted: chance. Time is linear up to a tenth of an epoch and logarithmic after it.",
        f"Learning curves of networks of width {width} on true and on shuffled labels, and their confidence on test images "
        "and on noise.",
    )


def _draw_summary(curves, confidence, width, folder):
    """Draw the finding in one picture, for the README and the suite's report."""
    figure, [[train, test, sure]] = figures.grid(1, 3, width=3.6, height=2.9)
    for place, part in ((train, "train"), (test, "test")):
        panels.accuracy_curves(place, curves[curves["width"] == width], part)
    train.set_title(f"width {width}")
    panels.estimates(sure, confidence[confidence["width"] == width], "mean_confidence", "inputs", list(figures.INPUTS))
    names = [name.replace(", ", ",\n").replace(" ", "\n", 1) for name in figures.INPUT_NAMES.values()]
    sure.set_xticks(range(len(names)), names, fontsize=8)
    sure.axhline(CHANCE, **figures.CHANCE_LINE)
    sure.set(ylim=(0, 1.03), ylabel="mean confidence")
    figures.shared_legend(figure, train)
    return figures.save(figure, folder, "summary", dense=True)


def _draw_curves(curves, widths, folder):
    figure, axes = figures.grid(2, len(widths), sharey=True)
    for column, width in enumerate(widths):
        for row, part in enumerate(("train", "test")):
            panels.accuracy_curves(axes[row][column], curves[curves["width"] == width], part)
        axes[0][column].set(title=f"width {width}", xlabel="")
    figures.shared_legend(figure, axes[0][0])
    return figures.save(figure, folder, "curves")


def _draw_accuracy(trials, widths, folder):
    figure, [[train, test]] = figures.grid(1, 2, width=4.2, height=3)
    for place, part in ((train, "train"), (test, "test")):
        panels.estimates(place, trials, f"final_{part}_accuracy", "width", widths)
        place.axhline(CHANCE, **figures.CHANCE_LINE)
        name = "training accuracy" if part == "train" else "test accuracy"
        place.set(ylim=(0, 1.03), ylabel=name, xlabel="width")
    n_test = trials["dataset.n_test"].fillna(datasets.MNIST.test_images).iloc[0]
    test.axhspan(*binomial_band(CHANCE, int(n_test)), color="0.85", zorder=0)
    figures.shared_legend(figure, train)
    return figures.save(figure, folder, "accuracy")


def _draw_scaled(curves, shapes, widths, folder):
    figure, axes = figures.grid(2, len(widths), sharex=True, sharey=True)
    names = {"loss": "share of the loss lost", "accuracy": "training accuracy"}
    by_trial = dict(list(curves.groupby("trial")))
    for row, (kind, level) in zip(axes, LEVELS.items()):
        spans = shapes[shapes["curve"] == kind].set_index("trial")
        ends = spans[f"t{100 * level:.0f}"].dropna()
        for place, width in zip(row, widths):
            place.plot([0, 1], [0 if kind == "loss" else CHANCE, level], color="0.6", linewidth=1)
            for trial, end in ends[spans["width"] == width].items():
                curve, labels = by_trial[trial], spans.loc[trial, "labels"]
                values = curve[f"train_{kind}"]
                rise = loss_progress(values) if kind == "loss" else values
                style: figures.Style = {"color": figures.LABELS[labels], "linestyle": figures.DASHES[labels]}
                place.plot(curve["epoch"] / end, rise, linewidth=1, alpha=0.8, **style)
            place.set(xlim=(0, 1), ylim=(0, 1.03))
        row[0].set_ylabel(names[kind])
    for above, below, width in zip(*axes, widths):
        above.set_title(f"width {width}")
        below.set_xlabel("time / span")
    handles = [Line2D([], [], color=figures.LABELS[kind], linestyle=figures.DASHES[kind]) for kind in KINDS]
    figure.legend(handles, [f"{kind} labels" for kind in KINDS], loc="outside upper center", ncols=2)
    return figures.save(figure, folder, "scaled")


def _draw_shapes(shapes, kind, widths, folder):
    shown = {
        **{f"t{level}": (f"epochs to {level} %", None) for level in (50, 90, 99)},
        **SHAPES,
    }
    figure, axes = figures.grid(2, 4, width=2.6, height=2.4)
    places = [place for row in axes for place in row]
    own = shapes[shapes["curve"] == kind]
    for place, (column, (title, straight)) in zip(places, shown.items()):
        panels.estimates(place, own, column, "width", widths)
        place.set(title=title, xlabel="width")
        if straight is None:
            figures.log_axis(place)
        else:
            place.axhline(straight, **figures.CHANCE_LINE)
    places[-1].axis("off")
    figures.shared_legend(figure, places[0])
    return figures.save(figure, folder, f"shapes_{kind}")


def _draw_confidence(confidence, widths, folder):
    figure, axes = figures.grid(len(KINDS), len(widths), height=2, sharex=True, sharey=True)
    for row, labels in zip(axes, KINDS):
        for place, width in zip(row, widths):
            own = confidence[(confidence["width"] == width) & (confidence["labels"] == labels)]
            panels.confidence_boxes(place, own)
        row[0].set_ylabel(f"{labels} labels", fontweight="bold")
    for above, below, width in zip(axes[0], axes[-1], widths):
        above.set_title(f"width {width}")
        below.set_xlabel("confidence")
    return figures.save(figure, folder, "confidence")


def _draw_samples(samples, trials, width, folder):
    first = trials[(trials["width"] == width) & (trials["seed"] == trials["seed"].min())]
    twins = first.set_index("labels")["trial"]
    figure = panels.sample_strip({kind: samples[samples["trial"] == twins[kind]] for kind in KINDS})
    return figures.save(figure, folder, "samples", dense=True)


if __name__ == "__main__":
    experiment.run("headline", analyse)
