"""Effects of explicit regularisers, on 10,000 images of MNIST at every scale."""

from functools import partial
from itertools import product

import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.random_labels.networks import (
    LINEAR_MARK,
    PLAIN,
    Conditions,
    bounded,
    images_of,
    in_percent,
    linear_of,
    lost,
    mean,
    of,
    pairs,
    read,
    values,
)
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.reporting.report import Shown, with_interval
from memo.statistics.intervals import paired_ratio
from memo.statistics.over_seeds import Answer, over_pairs
from memo.storage.run_folders import Tables

# Weight decay acts where alone it would take a fifth of a weight at least.
ACTS = 0.8
MARKS = {
    "none": Mark("none", palette.BLACK, "o"),
    "weight decay": Mark("weight decay", palette.BLUE, "s"),
    "dropout": Mark("dropout", palette.PURPLE, "^"),
}
# By hidden layers and regulariser: the arms on true and on random labels, which need more epochs to be fitted.
ARMS = {
    (1, "weight decay"): ("one_decay_true", "one_decay"),
    (1, "dropout"): ("one_dropout", "one_dropout"),
    (3, "weight decay"): ("three_decay_true", "three_decay"),
}
LONGER = {1: "one_longer", 3: "three_longer"}
# Times as many epochs as networks without a regulariser take to 99 %, at least: time to fit, if it is possible.
LONG = 3
BEYOND = 2  # times as many epochs as 99.9 % training accuracy takes, at least
KINDS = ("true", "random")
CELLS = [(layers, name) for layers in (3, 1) for name in MARKS if name == "none" or (layers, name) in ARMS]


def shown(layers: int, regulariser: str, labels: str) -> Conditions:
    """Return the conditions of the networks of one depth, regulariser and kind of labels."""
    if regulariser == "none":
        return PLAIN[layers][KINDS.index(labels)]
    return {"arm": ARMS[layers, regulariser][KINDS.index(labels)], "labels": labels}


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return nothing: errors are in the table of networks."""
    return {}


def answer(tables: Tables, answers: Answers) -> None:
    """Answer the effects of dropout, weight decay and early stopping on memorising and on the test error."""
    networks = read(tables)
    give = partial(answers.give, images=images_of(networks, PLAIN[1][0]))
    give("Z5-dropout-1", memorises(networks, 1, "dropout"))
    give("Z5-needless-dropout-1", _needless(networks, 1, "dropout"))
    for layers in PLAIN:
        found = memorises(networks, layers, "weight decay"), _needless(networks, layers, "weight decay")
        if not acts(networks, layers):
            found = ((None, "so few steps of weight decay hardly change the weights"),) * 2
        give("Z5-decay-{layers}", found[0], layers=layers)
        give("Z5-needless-decay-{layers}", found[1], layers=layers)
        give("early-stopping-{layers}", stopped(networks, layers), layers=layers)


def stopped(networks: pd.DataFrame, layers: int) -> Answer:
    """Return the test error of the last epoch over that of the best by validation images, of networks trained far beyond fitting."""
    conditions = {"arm": LONGER[layers]}
    own = of(networks, conditions)
    if not (own["t999"] * BEYOND <= own["epochs"]).all():
        return None, f"not every network was trained {BEYOND} times as long as fitting takes"
    last, best = (values(networks, column, conditions) for column in ("test_error", "chosen_test_error"))
    return over_pairs(last, best, "no value", estimate=paired_ratio, diverged=len(lost(networks, conditions)))


def acts(networks: pd.DataFrame, layers: int) -> bool:
    """Return whether weight decay had the steps to shrink weights, with both kinds of labels."""
    return bool((networks.loc[networks["arm"].isin(ARMS[layers, "weight decay"]), "kept"] <= ACTS).all())


def memorises(networks: pd.DataFrame, layers: int, regulariser: str) -> Answer:
    """Return the training accuracy on random labels with a regulariser, of networks that had the time to fit them."""
    own, plain = (of(networks, shown(layers, name, "random")) for name in (regulariser, "none"))
    had_time = own["epochs"] >= LONG * plain["t99"].max(skipna=False)
    if not (had_time | (own["final_train_accuracy"] == 1)).all():
        return None, f"not every network was trained {LONG} times as long as one without a regulariser takes to 99 %"
    return mean(networks, "final_train_accuracy", shown(layers, regulariser, "random"), estimate=bounded)


def _needless(networks: pd.DataFrame, layers: int, regulariser: str) -> Answer:
    """Return how many times as large the test error on true labels is without a regulariser."""
    without, regularised = (shown(layers, own, "true") for own in ("none", regulariser))
    return pairs(networks, "test_error", without, regularised, estimate=paired_ratio)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw accuracies by regulariser, and show the paper's tables beside ours."""
    networks, text = read(tables), Text("experiments.random_labels", "regularisers")
    facts = {
        "images": images_of(networks, PLAIN[1][0]),
        "seeds": of(networks, PLAIN[1][0])["seed"].nunique(),
        "fits": answers["Z5-dropout-1"],
        "needless": answers["Z5-needless-dropout-1"],
        "decayed": {layers: answers[f"Z5-decay-{layers}"] for layers in PLAIN},
        "stopped": {layers: answers[f"early-stopping-{layers}"] for layers in PLAIN},
        "strength": networks.loc[networks["arm"].isin(ARMS[1, "weight decay"]), "weight_decay"].max(),
        "linear": linear_of(networks, images_of(networks, PLAIN[1][0])),
    }
    file = figures.save(draw_accuracies(networks), evidence.folder, "regularisers")
    return Chapter(
        title="Regularisers",
        findings=[text.block(name, **facts) for name in ("finding", "decay", "stopping")],
        figures=[text.figure(file, **facts)],
        shown=[Shown(text.block("shown_title"), text.block("shown", **facts), table(networks))],
    )


def _name(own: pd.DataFrame) -> str:
    return f"{int(own['layers'].iloc[0])}×{int(own['width'].iloc[0])}"


def table(networks: pd.DataFrame) -> pd.DataFrame:
    """Return accuracies and epochs by network, labels and regulariser."""
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
        found = {name: mean(networks, column, conditions, estimate=bounded) for name, column in accuracies.items()}
        times = {name: mean(networks, column, conditions)[0] for name, column in epochs.items()}
        rows.append(
            {
                "network": _name(own),
                "labels": labels,
                "regulariser": f"{regulariser} {strength:g}" if strength else regulariser,
                **{name: in_percent(estimate) for name, (estimate, _) in found.items()},
                **{name: with_interval(time, count=False) for name, time in times.items()},
                "missing": found["test %"][1],
            }
        )
    whole = pd.DataFrame(rows)
    return whole if whole["missing"].any() else whole.drop(columns="missing")


def draw_accuracies(networks: pd.DataFrame) -> Drawing:
    """Return test accuracy on true labels, at the end and at the best epoch, and training accuracy on random ones."""
    figure, [[test, train]] = figures.grid(1, 2, width=4.2, height=2.9)
    places = dict(zip(sorted(PLAIN), range(len(PLAIN))))
    names = [_name(of(networks, PLAIN[layers][0])) for layers in places]
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
    train.set(title="random labels", ylabel="training accuracy", ylim=(0, 1.03))  # Student's interval may pass 1
    train.axhline(0.99, **palette.REFERENCE)
    if linear := linear_of(networks, images_of(networks, PLAIN[1][0])):
        train.axhline(linear.value, **LINEAR_MARK.line)
    figures.shared_legend(figure, test)
    return figure
