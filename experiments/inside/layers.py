"""Where memory sits: accuracy on images with wrong and with true labels, one layer rewound or retrained at a time."""

import sys
from functools import partial

import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from experiments.inside import retraining
from experiments.inside.networks import NOISY, final_layers, one, stacked
from experiments.inside.retraining import retrained, with_layer
from memo.commands.evidence import Evidence
from memo.config import Trial
from memo.networks import initial
from memo.networks.mlp import Layers
from memo.networks.program import Static, as_pixels
from memo.probes.networks import outputs
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.statistics.intervals import mean_interval, paired_difference
from memo.statistics.over_seeds import over_pairs, over_seeds
from memo.storage.run_folders import Tables

# Of the labels that were not redrawn: training accuracy at which a network is rewound to, by the first weights kept.
BEFORE = 0.9
WHOLE, REWOUND, RESET, RETRAINED, LAST_TWO = "as trained", "rewound", "reset", "retrained", "last two rewound"
WAYS = {
    REWOUND: "rewound to before memorisation",
    RESET: "put back to the start",
    RETRAINED: "retrained on clean images",
}
GROUPS = {
    "noisy": Mark("wrong labels", palette.VERMILION, "s", palette.DASHED),
    "clean": Mark("true labels", palette.BLUE, "o"),
    "test": Mark("test images", palette.GREY, "^", palette.DOTTED),
}
NONE_KEPT = "a network without wrong labels, or without weights from before memorisation"


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return accuracies of each network with a wrong label on some images, with its layers rewound, reset and retrained."""
    sound = set(evidence.trials["trial"])
    trials = [trial for trial in evidence.asked_trials(NOISY) if trial.id in sound]
    given = evidence.training_sets(NOISY)
    true = evidence.dataset.train_labels
    clean = {trial.id: given[trial.id][1] == true[given[trial.id][0]] for trial in trials}
    # As many for all: programs depend on the number of images.
    kept = min((int(own.sum()) for own in clean.values()), default=0)
    epochs, code = int(evidence.settings["layers"]["epochs"]), (sys.modules[__name__], retraining)
    found = [
        evidence.once(
            f"layers-{trial.seed}",
            code,
            [trial.id, epochs, kept],
            partial(_of_network, evidence, trial, clean[trial.id], kept, epochs),
        )
        for trial in trials
    ]
    columns = ["seed", "way", "layer", *GROUPS, "layers", "before_epoch", "before_accuracy"]
    return {"layers": pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)}


def _of_network(evidence: Evidence, trial: Trial, clean: np.ndarray, kept: int, epochs: int) -> pd.DataFrame:
    """Return the rows of one network, of whose labels those at `clean` [n] are true."""
    rows, labels = evidence.training_sets(NOISY)[trial.id]
    static, final = evidence.static_of(trial.id), one(final_layers(evidence, NOISY, [trial]), 0)
    start = one(initial.by_seed(static, [trial.seed]), 0)
    before, epoch, accuracy = weights_before(evidence, trial, BEFORE * clean.mean())
    depths = range(len(final))
    networks = {(WHOLE, 0): final, (LAST_TWO, 0): with_layer(final, before, len(final) - 2, len(final) - 1)}
    networks |= {(REWOUND, depth + 1): with_layer(final, before, depth) for depth in depths}
    networks |= {(RESET, depth + 1): with_layer(final, start, depth) for depth in depths}
    few = np.flatnonzero(clean)[:kept]
    again = retrained(trial, evidence.dataset, rows[few], labels[few], final, start, epochs)
    networks |= {(RETRAINED, depth + 1): one(again, depth) for depth in depths}
    pixels = evidence.dataset.train_images[rows]
    shares = right(static, stacked(list(networks.values())), pixels, labels)
    test = right(static, stacked(list(networks.values())), *evidence.test_images(NOISY)).mean(axis=1)
    return pd.DataFrame(
        [
            {
                "seed": trial.seed,
                "way": way,
                "layer": layer,
                "noisy": own[~clean].mean() if (~clean).any() else np.nan,
                "clean": own[clean].mean(),
                "test": tested,
                "layers": len(final),
                "before_epoch": epoch,
                "before_accuracy": accuracy,
            }
            for (way, layer), own, tested in zip(networks, shares, test)
        ]
    )


def weights_before(evidence: Evidence, trial: Trial, level: float) -> tuple[Layers, float, float]:
    """Return the first weights kept at which training accuracy has reached a level, with their epoch and accuracy.

    The last ones where it never does.
    """
    table = evidence.of(NOISY, "weights_along")
    table = table[table["trial"] == trial.id].sort_values("step")
    curve = next(curve for keys, curve in evidence.curves() if keys["trial"] == trial.id)
    accuracies = curve.set_index("step")["train_accuracy"].reindex(table["step"]).to_numpy()
    place = int(np.argmax(accuracies >= level)) if (accuracies >= level).any() else len(table) - 1
    layers = evidence.trajectory(NOISY, trial.seed)
    return one(layers, place), float(table["epoch"].iloc[place]), float(accuracies[place])


def right(static: Static, networks: Layers, pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return which of images [n, pixels] networks [m, ...] give their label, [m, n] bool."""
    found = outputs(static, networks, as_pixels(jnp.asarray(pixels)))
    return np.asarray(found.argmax(axis=-1)) == labels


def value(table: pd.DataFrame, way: str, column: str, layer: int = 0) -> pd.Series:
    """Return a column of the rows of one way and layer, by seed."""
    return table[(table["way"] == way) & (table["layer"] == layer)].set_index("seed")[column].astype(float)


def answer(tables: Tables, answers: Answers) -> None:
    """Answer whether the last layers hold the wrong labels, and how many layers could be retrained without them."""
    table, networks = tables["layers"], tables["networks"]
    answers.trained_on(networks[networks["arm"] == NOISY])
    depth = int(table["layers"].max()) if len(table) else 1
    difference = partial(paired_difference, bounds=(-1, 1))
    give = partial(over_pairs, why=NONE_KEPT, estimate=difference)
    answers.give("restored", give(value(table, LAST_TWO, "test"), value(table, WHOLE, "test")))
    rewound = {layer: value(table, REWOUND, "noisy", layer) for layer in range(1, depth + 1)}
    answers.give("deeper", give(rewound[1], rewound[depth]))  # what the last one costs more than the first
    again = pd.DataFrame({layer: value(table, RETRAINED, "noisy", layer) for layer in range(1, depth + 1)})
    for claim, values in (("redundant-most", again.median(axis=1, skipna=False)), ("redundant-last", again[depth])):
        answers.give(claim, over_seeds(values, NONE_KEPT, estimate=partial(mean_interval, bounds=(0, 1))))
    others = pd.DataFrame({layer: own for layer, own in rewound.items() if layer < depth}).mean(axis=1, skipna=False)
    answers.give("not-last", give(rewound[depth], others))


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw accuracy on wrong and on true labels by the layer that is rewound, reset or retrained."""
    table, text = tables["layers"], Text("experiments.inside", "layers")
    if table.empty:
        return Chapter(title="Where memory sits")
    depth = int(table["layers"].max())
    recipe = evidence.asked_trials(NOISY)[0].recipe
    means = {
        way: {layer: float(value(table, way, "noisy", layer).mean()) for layer in range(1, depth + 1)} for way in WAYS
    }
    facts = {
        "depth": depth,
        "restored": answers["restored"],
        "deeper": answers["deeper"],
        "most": answers["redundant-most"],
        "last": answers["redundant-last"],
        "not_last": answers["not-last"],
        "costliest": min(means[REWOUND], key=lambda layer: means[REWOUND][layer]),
        "least": min(means[REWOUND].values()),
        "fraction": recipe.labels.fraction,
        "images": answers.images,
        "widths": recipe.model.widths,
        "rate": recipe.optimizer.learning_rate,
        "seeds": table["seed"].nunique(),
        "epochs": int(evidence.settings["layers"]["epochs"]),
        "before": BEFORE,
        "before_epoch": float(table["before_epoch"].mean()),
    }
    file = figures.save(draw_layers(table, depth), evidence.folder, "layers")
    return Chapter(
        title="Where memory sits",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(file, **facts)],
        methods=[text.block("methods", **facts)],
    )


def draw_layers(table: pd.DataFrame, depth: int) -> Drawing:
    """Return accuracies by layer, a panel for each of the ways."""
    figure, [row] = figures.grid(1, len(WAYS), width=3.2, height=2.9, sharey=True)
    for axes, (way, words) in zip(row, WAYS.items()):
        for (group, mark), offset in zip(GROUPS.items(), panels.side_by_side(len(GROUPS))):
            values = {layer: value(table, way, group, layer) for layer in range(1, depth + 1)}
            panels.means(axes, values, mark, offset=offset, joined=True)
        _whole(axes, table)
        axes.set(title=f"layer {words}", xlabel="layer", ylim=(0, 1.03))
        axes.set_xticks(range(1, depth + 1))
    row[0].set_ylabel("accuracy")
    figures.shared_legend(figure, row[0])
    return figure


def _whole(axes: Axes, table: pd.DataFrame) -> None:
    """Draw the test accuracy of the networks as they were trained."""
    axes.axhline(value(table, WHOLE, "test").mean(), **palette.REFERENCE)
