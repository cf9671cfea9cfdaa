"""The paper's schedule on its own data and on MNIST, with images whitened one by one and not; its tables 1 and 4 beside ours."""

from collections.abc import Callable
from functools import partial

import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.random_labels.networks import (
    LINEAR,
    LINEAR_MARK,
    PIXEL_MARKS,
    Conditions,
    bounded,
    curves_of,
    declares,
    images_of,
    in_percent,
    longer,
    mean,
    of,
    pairs,
    read,
    shape_of,
)
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.reporting.report import Shown
from memo.statistics.intervals import paired_difference, share_from
from memo.statistics.over_seeds import Answer, noted
from memo.statistics.trends import by_level
from memo.storage.run_folders import Tables

DATA = {"mnist": "MNIST", "cifar10": "CIFAR-10"}
SCALINGS = {"per_image": "whitened", "unit": "pixels from 0 to 1"}
KINDS = ("true", "random")
# The arms with the paper's schedule, by data set and scaling.
ARMS = {
    ("mnist", "unit"): "literal",
    ("mnist", "per_image"): "whitened",
    ("cifar10", "unit"): "cifar_unit",
    ("cifar10", "per_image"): "cifar_literal",
}
LINEARS: dict[str, Conditions] = {"mnist": LINEAR, "cifar10": {"arm": "cifar_linear"}}
CIFAR: Conditions = {"arm": "cifar_literal"}
CORRUPTED, INPUTS = "cifar_corrupted", "cifar_inputs"  # arms that only some scales have

# Rows of the paper's table 1, and of its table 4 (random labels with weight decay), from two third parties' notes that agree:
# layers, whether with weight decay, labels; training and test accuracy in per cent.
PAPER = {
    (3, False, "true"): ("100.0", "52.39"),
    (3, True, "true"): ("100.0", "53.35"),
    (3, False, "random"): ("100.0", "10.48"),
    (3, True, "random"): ("100", ""),
    (1, False, "true"): ("100.0", "50.51"),
    (1, True, "true"): ("99.80", "50.39"),
    (1, False, "random"): ("99.34", "10.61"),
    (1, True, "random"): ("99.21", ""),
}
PARTS = {"train": "final_train_accuracy", "test": "final_test_accuracy"}
# Networks of three layers fit every label, and the interval of a mean of ones is as wide as that of a share of networks: so
# it is asked how many of them fit this much.
FITTED, FITTED_BY_SCHEDULE = 0.995, 0.999
RATIO = ("random-label", "curve on true labels")

difference = partial(paired_difference, bounds=(-1, 1))


def cell(data: str, scaling: str, labels: str = "random", layers: int = 1) -> Conditions:
    """Return the conditions of the networks with the paper's schedule on a data set, by the scaling of its pixels."""
    return {"arm": ARMS[data, scaling], "layers": layers, "labels": labels}


def row(layers: int, decay: bool, labels: str) -> Conditions:
    """Return the conditions of the networks of a row of the paper's table."""
    return {"arm": "cifar_decay" if decay else CIFAR["arm"], "layers": layers, "labels": labels}


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return nothing: accuracies are in the table of networks."""
    return {}


def answer(tables: Tables, answers: Answers) -> None:
    """Answer what whitening and the data change, and on all of CIFAR-10 whether the rows of the paper's tables are met."""
    networks = read(tables)
    images = images_of(networks, CIFAR)
    answers.conditions(cifar_images=[images])
    fits = partial(pairs, networks, PARTS["train"], estimate=difference)
    for data in DATA:
        own = images_of(networks, cell(data, "unit"))
        answers.give("whitening-{data}", fits(cell(data, "per_image"), cell(data, "unit")), own, data=data)
    for scaling in SCALINGS:
        answers.give("data-{scaling}", between_data(networks, scaling), images, scaling=scaling)
    if declares(answers, "Z1-cifar-1-{cifar_images}", "cifar_images", images):
        reached = mean(networks, PARTS["train"], row(1, False, "random"), estimate=bounded)
        answers.give("Z1-cifar-1-{cifar_images}", reached, images, cifar_images=images)
    if declares(answers, "Z3-cifar-{cifar_images}", "cifar_images", images):
        _answer_paper(networks, partial(answers.give, images=images, cifar_images=images))


def between_data(networks: pd.DataFrame, scaling: str) -> Answer:
    """Return how many more of the random labels are fitted on one of the data sets than on the other, whichever it is."""
    cells = [cell(data, scaling) for data in ("cifar10", "mnist")]
    found, note = pairs(networks, PARTS["train"], *cells, estimate=difference)
    if found is None or found.value >= 0:
        return found, note
    return pairs(networks, PARTS["train"], *cells[::-1], estimate=difference)[0], noted("more on MNIST", note)


def _answer_paper(networks: pd.DataFrame, give: Callable[..., None]) -> None:
    """Answer the claims about the paper's own data and number of images."""
    give("Z3-cifar-{cifar_images}", slowdown(networks))
    reached = mean(networks, PARTS["train"], row(3, False, "random"), estimate=share_from(FITTED_BY_SCHEDULE))
    give("Z1-cifar-3-{cifar_images}", reached)
    for (layers, decay, labels), theirs in PAPER.items():
        for part, column in PARTS.items():
            name = f"{part}-{layers}" if decay else f"{part}-{layers}-{labels}"
            table = ("table4-decay" if labels == "random" else "table1-decay") if decay else "table1"
            if theirs[part == "test"]:
                estimate = share_from(FITTED) if (part, layers) == ("train", 3) else bounded
                own = mean(networks, column, row(layers, decay, labels), estimate=estimate)
                give(f"{table}-{name}-{{cifar_images}}", own)


def slowdown(networks: pd.DataFrame) -> Answer:
    """Return how many times as many epochs to 90 % random labels of CIFAR-10 take as true ones."""
    true, random = (cell("cifar10", "per_image", labels) for labels in KINDS)
    return longer(networks, "t90", random, true, RATIO)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw training by the paper's schedule on both data sets, and its figure 1 on CIFAR-10 where the run has it."""
    networks, text = read(tables), Text("experiments.random_labels", "whitening")
    facts = {
        "images": {data: images_of(networks, cell(data, "unit")) for data in DATA},
        "seeds": networks[networks["arm"].isin([*ARMS.values()])].groupby("arm")["seed"].nunique(),
        "fits": {
            (data, scaling): mean(networks, PARTS["train"], cell(data, scaling), estimate=bounded)[0]
            for data, scaling in ARMS
        },
        "gains": {data: answers[f"whitening-{data}"] for data in DATA},
        "decay": of(networks, {"arm": "cifar_decay"})["weight_decay"].max(),
        "factor": slowdown(networks)[0],
    }
    drawn = {"whitening": draw_schedule(evidence, networks)}
    if {CORRUPTED, INPUTS} <= set(networks["arm"]):
        drawn["cifar"] = draw_settings(evidence, networks)
    return Chapter(
        title="The paper's data, and MNIST",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(figures.save(each, evidence.folder, name), **facts) for name, each in drawn.items()],
        shown=[Shown(text.block("shown_title"), text.block("shown", **facts), table(networks))],
    )


def table(networks: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the paper's tables beside ours, as far as the run has them, and the same networks on MNIST."""
    rows = []
    for (layers, decay, labels), theirs in PAPER.items():
        ours = row(layers, decay, labels)
        if of(networks, ours).empty:
            continue
        found = [in_percent(mean(networks, column, ours, estimate=bounded)[0]) for column in PARTS.values()]
        width = int(of(networks, ours)["width"].iloc[0])
        decayed = f"{of(networks, ours)['weight_decay'].iloc[0]:g}" if decay else "none"
        names = ("paper: train %", "paper: test %", "ours: train %", "ours: test %")
        known = {"network": f"{layers}×{width}", "labels": labels, "weight decay": decayed}
        rows.append(known | dict(zip(names, (*theirs, *found))))
    return pd.DataFrame(rows)


def draw_schedule(evidence: Evidence, networks: pd.DataFrame) -> Drawing:
    """Return training accuracy by epoch, a column for each data set and a row for each number of layers that both have."""
    depths = sorted(of(networks, CIFAR)["layers"].unique())
    figure, grid = figures.grid(len(depths), len(DATA), width=4.2, height=2.9, sharey=True)
    dashes = dict(zip(SCALINGS, (palette.SOLID, palette.DOTTED)))
    marks = {
        f"{scaling} {kind}": palette.LABELS[kind]._replace(name=f"{kind} labels, {words}", dashes=dashes[scaling])
        for scaling, words in SCALINGS.items()
        for kind in KINDS
    } | {"linear": LINEAR_MARK}
    for line, layers in zip(grid, depths):
        for axes, (data, name) in zip(line, DATA.items()):
            kinds = {
                f"{scaling} {kind}": cell(data, scaling, kind, int(layers)) for scaling in SCALINGS for kind in KINDS
            }
            curves = curves_of(evidence, networks, kinds | {"linear": LINEARS[data]})
            panels.accuracy_curves(axes, curves, "train", marks, classes=shape_of(networks, cell(data, "unit")).classes)
            axes.set_title(f"{name}, {layers} hidden layer{'s' if layers > 1 else ''}")
        line[1].set_ylabel("")
    figures.shared_legend(figure, grid[0], 3)
    return figure


def draw_settings(evidence: Evidence, networks: pd.DataFrame) -> Drawing:
    """Return the paper's figure 1 on CIFAR-10: loss by step, and time to 90 % and test error by share of labels redrawn."""
    figure, [[loss, time, error]] = figures.grid(1, 3, width=3.6, height=3.0)
    true, random = (cell("cifar10", "per_image", kind) for kind in KINDS)
    kinds = {"true": (palette.LABELS["true"], true), "random": (palette.LABELS["random"], random)}
    for kind, mark in PIXEL_MARKS.items():
        kinds[kind] = mark, {"arm": INPUTS, "inputs": kind}
    curves = curves_of(evidence, networks, {kind: conditions for kind, (_, conditions) in kinds.items()})
    for kind, (mark, _) in kinds.items():
        panels.mean_line(loss, curves[curves["labels"] == kind], "train_loss", "step", label=mark.name, **mark.line)
    loss.set(xlabel="step", ylabel="training loss", ylim=(0, None), xlim=(0, None))
    loss.locator_params(axis="x", nbins=3)
    levels = pd.concat([of(networks, true), of(networks, {"arm": CORRUPTED}), of(networks, random)])
    one = Mark("one hidden layer", palette.BLUE, "o")
    panels.means(time, by_level(levels, "t90", "redrawn"), one, joined=True)
    panels.means(error, by_level(levels, "test_error", "redrawn"), one, joined=True)
    panels.chance(error, shape_of(networks, CIFAR).classes, error=True)
    time.set(ylabel="epochs to 90 %", ylim=(0, None))
    error.set(ylabel="test error", ylim=(0, 1))
    for axes in (time, error):
        axes.set(xlabel="p: share of labels redrawn", xlim=(-0.05, 1.05))
    figures.shared_legend(figure, loss, 5)
    return figure
