# %% [markdown]
# # The reference results as tables
#
# Each experiment of the suite leaves its claims and its tables below `results/`, small enough to be part of the
# repository. This notebook reads them and redraws two figures; nothing is trained. Open it in VS Code or PyCharm as it is,
# in Jupyter by way of jupytext, or run it: `python examples/reference_results.py` leaves two PNG files.

# %%
import sys
from pathlib import Path

import pandas as pd
import seaborn as sns

import memo
from memo.reporting import figures
from memo.reporting.panels import CHANCE
from memo.statistics.intervals import mean_interval

RESULTS = Path(memo.__file__).parents[1] / "results"


def interval(values: pd.Series) -> tuple[float, float]:
    """Return the 95 % interval of the mean over seeds, that of the reports (expanded percentile bootstrap)."""
    return mean_interval(values)[1:3]


# %% [markdown]
# ## Claims
#
# One row a claim: a `statement` of a `source`, the `quantity` and the range in which it is `expected`, what was `measured`
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
# `headline.shapes` has one row for each network and curve. `width`: units of both hidden layers; `labels`: true, or shuffled
# once for all epochs; `curve`: which one is measured, the training loss or the training accuracy; `t50`, `t90`, `t99`:
# epochs until that share of the loss is lost, or until that accuracy (empty where a network never gets there); `area`,
# `linearity`, `steepness`, `early_share`: the shape of the curve (`memo.statistics.curve_shape.shape`). Networks of one `seed` share their
# images and the order of minibatches.

# %%
accuracy = headline.shapes.query("curve == 'accuracy'").rename(columns={"t99": "epochs to 99 % training accuracy"})
never = accuracy[accuracy["epochs to 99 % training accuracy"].isna()]
print(
    f"{len(never)} of {len(accuracy)} networks never get there: {never.groupby(['width', 'labels']).size().to_dict()}"
)

times, [[axes]] = figures.grid(1, 1, width=4.6, height=3.2)
sns.pointplot(
    accuracy,
    x="width",
    y="epochs to 99 % training accuracy",
    hue="labels",
    hue_order=["true", "shuffled"],
    palette=figures.LABELS,
    markers=[figures.MARKERS["true"], figures.MARKERS["shuffled"]],
    errorbar=interval,
    dodge=0.2,
    linestyle="none",
    ax=axes,
)
figures.log_axis(axes)
axes.legend(title="labels")

# %% [markdown]
# ## From true to random labels
#
# `random_labels.corruption` has one row a network with one hidden layer of 512 units. `labels`: true or random; `fraction`: the
# probability with which each label was redrawn (0 for true ones); `changed`: the share that really did change; `test_error`:
# at the end, when every label is fitted; `best_test_error`: at the best of the evaluations, at `best_epoch`, chosen by that
# same error. Test labels are true ones.

# %%
random_labels = memo.load_results(RESULTS / "random_labels")
errors = random_labels.corruption.melt(
    ["seed", "fraction"], ["test_error", "best_test_error"], "stopped", "error on test images"
).replace({"stopped": {"test_error": "when all labels are fitted", "best_test_error": "at its best epoch"}})

corruption, [[axes]] = figures.grid(1, 1, width=4.6, height=3.2)
sns.lineplot(
    errors,
    x="fraction",
    y="error on test images",
    hue="stopped",
    style="stopped",
    markers=["o", "s"],
    palette=["black", "0.55"],
    errorbar=interval,
    err_style="bars",
    ax=axes,
)
axes.axhline(1 - CHANCE, label="chance", **figures.CHANCE_LINE)
axes.set(xlabel="probability that a training label is redrawn", ylim=(0, 1))
axes.legend(loc="upper left", bbox_to_anchor=(0, 0.87))

# %% [markdown]
# The same numbers as a table, mean with interval and n:

# %%
rows = {
    (stopped, fraction): mean_interval(own["error on test images"])
    for (stopped, fraction), own in errors.groupby(["stopped", "fraction"])
}
print(
    pd.DataFrame(rows, index=["mean", "low", "high", "n"]).T.rename_axis(["stopped", "fraction"]).round(3).to_string()
)

# %% [markdown]
# ## Your own runs
#
# What you train has the whole curves and the probes as well: `memo.load` reads any tree of run folders.
#
# ```python
# tables = memo.load("results/runs")        # after python -m experiments.train ...
# tables.trials                             # a row a network: every key of its recipe, status, final losses and accuracies
# tables.curves                             # a row an evaluation: step, epoch, train and test loss and accuracy
# ```

# %%
if "ipykernel" not in sys.modules:  # no notebook that shows the figures
    for name, figure in {"times": times, "corruption": corruption}.items():
        figure.savefig(f"{name}.png", dpi=160)
