# %% [markdown]
# # The reference results as tables
#
# Each experiment of the suite leaves its claims and its tables below `results/`, small enough to be part of the
# repository. This notebook reads them and redraws two figures; nothing is trained. Open it in VS Code or PyCharm as it is,
# in Jupyter by way of jupytext, or run it: `python examples/reference_results.py` leaves two PNG files.

# %%
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

import memo
from memo.data import datasets
from memo.reporting import figures, palette, panels
from memo.reporting.palette import Mark
from memo.statistics.intervals import mean_interval

RESULTS = Path(memo.__file__).parents[1] / "results"

# %% [markdown]
# ## Claims
#
# One row per claim: a `statement` of a `source`, the `quantity` and the range in which it is `expected`, what was `measured`
# with its 95 % interval from `low` to `high` over `n` seeds, and the `verdict` that follows from the interval. `family` is the
# quantity without its `condition` (a width, a level of noise); `note` says what is missing.

# %%
headline = memo.load_results(RESULTS / "headline")
print(headline.claims["verdict"].value_counts().to_string(), end="\n\n")
slower = headline.claims[headline.claims["claim"].str.startswith("faster-t99")]
print(slower[["condition", "measured", "low", "high", "n", "verdict"]].to_string(index=False))

# %% [markdown]
# ## How long memorising takes
#
# `headline.networks` has one row per network. `width`: units of both hidden layers; `labels`: true, or shuffled once for all
# epochs; `accuracy_t50`, `_t90`, `_t99`: epochs until that training accuracy (empty where a network never gets there),
# `loss_t50`, ...: until that share of the loss is lost; `accuracy_linearity`, ...: the shape of the curve
# (`memo.statistics.curve_shape.shape`); `confidence_uniform`, ...: its mean confidence on a kind of input. Networks of one
# `seed` share their images and the order of minibatches.
#
# `figures.look` draws in the look of the reports, and leaves matplotlib's settings as they were.

# %%
networks = headline.networks.sort_values("units").astype({"width": str})
widths = list(networks["width"].unique())
never = networks[networks["accuracy_t99"].isna()]
print(
    f"{len(never)} of {len(networks)} networks never get there: {never.groupby(['width', 'labels']).size().to_dict()}"
)

with figures.look():
    times, axes = plt.subplots(figsize=(4.6, 3.2))
    panels.points(axes, networks, "accuracy_t99", "width", widths)
    figures.log_axis(axes)
    axes.set(xlabel="units per layer", ylabel="epochs to 99 % training accuracy")
    figures.legend(axes)

# %% [markdown]
# ## From true to random labels
#
# `random_labels.networks` has one row per network; those of the arms one_true and one_corrupted have one hidden layer of 512
# units and differ in their labels alone. `redrawn`: the probability with which each label was redrawn (0 for true ones);
# `changed`: the share that really did change; `final_test_accuracy`: at the end, when every label is fitted;
# `best_test_accuracy`: at the best of the evaluations, at `best_epoch`, chosen by that same accuracy. Test labels are true ones.

# %%
random_labels = memo.load_results(RESULTS / "random_labels")
stopped = {
    "final_test_accuracy": Mark("when all labels are fitted", palette.BLUE, "o", palette.SOLID),
    "best_test_accuracy": Mark("at its best epoch", palette.VERMILION, "s", palette.DASHED),
}
along = random_labels.networks[random_labels.networks["arm"].isin(["one_true", "one_corrupted"])]
errors = {column: 1 - along.pivot(index="seed", columns="redrawn", values=column) for column in stopped}

with figures.look():
    corruption, axes = plt.subplots(figsize=(4.6, 3.2))
    for column, mark in stopped.items():
        panels.means(axes, errors[column], mark, joined=True)
    panels.chance(axes, datasets.shape("mnist").classes, error=True)
    axes.set(xlabel="probability that a training label is redrawn", ylabel="error on test images", ylim=(0, 1))
    figures.legend(axes, loc="upper left", bbox_to_anchor=(0, 0.87))

# %% [markdown]
# The same numbers as a table, mean with Student's t interval over n seeds, as in the reports:

# %%
rows = {
    (mark.name, redrawn): mean_interval(own.dropna())[:4]
    for column, mark in stopped.items()
    for redrawn, own in errors[column].items()
}
table = pd.DataFrame(rows, index=["mean", "low", "high", "n"]).T.rename_axis(["stopped", "redrawn"])
print(table.astype({"n": int}).round(3).to_string())

# %% [markdown]
# ## Your own runs
#
# What you train has the whole curves and the probes as well: `memo.load` reads any tree of run folders.
#
# ```python
# tables = memo.load("results/runs")        # after python -m experiments.train ...
# tables.trials                             # one row per network: every key of its recipe, status, final losses and accuracies
# tables.curves                             # one row per evaluation: step, epoch, train and test loss and accuracy
# ```

# %%
if "ipykernel" not in sys.modules:  # no notebook that shows the figures
    for name, figure in {"times": times, "corruption": corruption}.items():
        figure.savefig(f"{name}.png", dpi=160)
