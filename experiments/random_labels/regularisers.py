"""Effects of explicit regularisers, in the form of the paper's tables 1 and 4, its CIFAR-10 rows beside ours."""

from functools import partial
from itertools import product

import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.random_labels.networks import DEPTHS, Conditions, bounded, images_of, mean, of, pairs, read, values
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.reporting.report import Shown, with_interval
from memo.statistics.intervals import Estimate, paired_ratio
from memo.storage.run_folders import Tables

# Rows of the paper's table 1 from two third parties' notes that agree: layers, weight decay, labels, train and test
# accuracy in per cent on CIFAR-10; and the row of its table 4 that has weight decay and random labels.
CIFAR = {
    (3, "weight decay", "true"): ("100.0", "53.35"),
    (3, "none", "true"): ("100.0", "52.39"),
    (3, "none", "random"): ("100.0", "10.48"),
    (3, "weight decay", "random"): ("100", ""),
    (1, "weight decay", "true"): ("99.80", "50.39"),
    (1, "none", "true"): ("100.0", "50.51"),
    (1, "none", "random"): ("99.34", "10.61"),
    (1, "weight decay", "random"): ("99.21", ""),
}
MARKS = {
    "none": Mark("none", palette.BLACK, "o"),
    "weight decay": Mark("weight decay", palette.BLUE, "s"),
    "dropout": Mark("dropout", palette.PURPLE, "^"),
}
ARMS = {
    (1, "weight decay"): "one_decay",
    (1, "dropout"): "one_dropout",
    (3, "weight decay"): "three_decay",
}
KINDS = ("true", "random")
CELLS = [(layers, name) for layers in (3, 1) for name in MARKS if name == "none" or (layers, name) in ARMS]


def shown(layers: int, regulariser: str, labels: str) -> Conditions:
    """Return the conditions of the networks of one depth, regulariser and kind of labels."""
    if regulariser == "none":
        return DEPTHS[layers][KINDS.index(labels)]
    return {"arm": ARMS[layers, regulariser], "labels": labels}


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return nothing: errors are in the table of networks."""
    return {}


def answer(tables: Tables, answers: Answers) -> None:
    """Answer the effect of dropout on memorising and on the test error."""
    networks = read(tables)
    give = partial(answers.give, images=images_of(networks))
    random = mean(networks, "final_train_accuracy", shown(1, "dropout", "random"), estimate=bounded)
    give("Z5-dropout-1", random)
    without, dropped = (shown(1, regulariser, "true") for regulariser in ("none", "dropout"))
    give("Z5-needless-dropout-1", pairs(networks, "test_error", without, dropped, estimate=paired_ratio))


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw accuracies by regulariser, and show the paper's tables beside ours."""
    networks, text = read(tables), Text("experiments.random_labels", "regularisers")
    facts = {
        "images": images_of(networks),
        "seeds": networks["seed"].nunique(),
        "fits": answers["Z5-dropout-1"],
        "needless": answers["Z5-needless-dropout-1"],
    }
    file = figures.save(draw_accuracies(networks), evidence.folder, "regularisers")
    return Chapter(
        title="Regularisers",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(file, **facts)],
        shown=[Shown(text.block("shown_title"), text.block("shown", **facts), table(networks))],
    )


def percent(estimate: Estimate | None) -> str:
    """Return a share with its interval as per cent, without n; without an interval where every network has all or nothing."""
    if estimate is None or estimate.value in (0, 1):
        return "n/a" if estimate is None else f"{100 * estimate.value:g}"
    whole = Estimate(100 * estimate.value, 100 * estimate.low, 100 * estimate.high, estimate.n)
    return with_interval(whole, count=False)


def _name(own: pd.DataFrame) -> str:
    return f"{int(own['layers'].iloc[0])}×{int(own['width'].iloc[0])}"


def table(networks: pd.DataFrame) -> pd.DataFrame:
    """Return accuracies and epochs by network, labels and regulariser, the paper's beside ours."""
    accuracies = {
        "train %": "final_train_accuracy",
        "test %": "final_test_accuracy",
        "test %, best epoch": "best_test_accuracy",
    }
    epochs = {"epochs to 99 %": "t99", "epochs": "epochs"}
    rows = []
    for (layers, regulariser), labels in product(CELLS, KINDS):
        conditions = shown(layers, regulariser, labels)
        own = of(networks, conditions)
        strength = {"weight decay": own["weight_decay"].max(), "dropout": own["dropout"].max()}.get(regulariser)
        paper = CIFAR.get((layers, regulariser, labels), ("", ""))
        found = {name: mean(networks, column, conditions, estimate=bounded) for name, column in accuracies.items()}
        times = {name: mean(networks, column, conditions)[0] for name, column in epochs.items()}
        rows.append(
            {
                "network": _name(own),
                "labels": labels,
                "regulariser": f"{regulariser} {strength:g}" if strength else regulariser,
                **dict(zip(("paper: train %", "paper: test %"), paper)),
                **{name: percent(estimate) for name, (estimate, _) in found.items()},
                **{name: with_interval(time, count=False) for name, time in times.items()},
                "missing": found["test %"][1],
            }
        )
    whole = pd.DataFrame(rows)
    return whole if whole["missing"].any() else whole.drop(columns="missing")


def draw_accuracies(networks: pd.DataFrame) -> Drawing:
    """Return test accuracy on true labels, at the end and at the best epoch, and training accuracy on random ones."""
    figure, [[test, train]] = figures.grid(1, 2, width=4.2, height=2.9)
    places = dict(zip(sorted(DEPTHS), range(len(DEPTHS))))
    names = [_name(of(networks, DEPTHS[layers][0])) for layers in places]
    for regulariser, offset in zip(MARKS, panels.side_by_side(len(MARKS))):
        mark = MARKS[regulariser]
        for axes, labels, column in (
            (test, "true", "final_test_accuracy"),
            (train, "random", "final_train_accuracy"),
        ):
            depths = [layers for layers in places if (layers, regulariser) in CELLS]
            own = {places[layers]: shown(layers, regulariser, labels) for layers in depths}
            found = {place: values(networks, column, conditions) for place, conditions in own.items()}
            panels.means(axes, found, mark, offset=offset, seeds=True)
            if axes is test:
                best = {place: values(networks, "best_test_accuracy", each).mean() for place, each in own.items()}
                style: palette.Style = {"fillstyle": "none", "markersize": 7, "label": "best epoch (open)"}
                axes.plot(
                    [place + offset for place in best], list(best.values()), **mark.points | {"marker": "v"} | style
                )
    for axes in (test, train):
        figures.name_axis(axes, names)
    test.set(title="true labels", ylabel="test accuracy")
    train.set(title="random labels", ylabel="training accuracy")
    train.axhline(0.99, **palette.REFERENCE)
    figures.shared_legend(figure, test)
    return figure
