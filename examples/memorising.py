"""A notebook: `python -m pip install -e '.[notebook]' && marimo edit examples/memorising.py` opens it in a browser."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium")


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    # Networks that learn and networks that memorise, in memory

    A few networks are trained on true labels and on the same labels shuffled, compared, and probed, within two minutes on two
    cores. Nothing is written: what is to be kept is trained by `memo.complete` or `python -m experiments.train`.

    A cell that is changed runs again, and so do those that depend on it.
    """)


@app.cell
def _():
    import marimo as mo
    import numpy as np

    import memo
    from memo.storage.tables import in_memory

    return in_memory, memo, mo, np


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Train

    A *recipe* has everything but the seed (its keys are listed in docs/keys.md); a *trial* is a recipe and a seed. `plan`
    groups trials by the shape of their networks, and `train` trains each group side by side, as one compiled program. The
    networks of one seed start from the same weights and see the same images in the same order: only their labels differ.
    """)


@app.cell
def _(memo):
    settings = {"dataset.n_train": 1000, "dataset.n_test": 2000, "model.widths": [128, 128], "epochs": 60}
    recipes = [memo.make_recipe(settings | {"labels.kind": kind}) for kind in ("true", "shuffled")]
    trials = [memo.Trial(recipe, seed) for recipe in recipes for seed in range(5)]
    mnist = memo.load_dataset("mnist")
    trained = [memo.train(population, mnist) for population in memo.plan(trials)]
    return (trained,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Compare

    `in_memory` makes the tables of these networks, as `memo.load` reads them from run folders; `memo.compare` finds what
    varies between them, here the labels, and compares the networks of each seed.
    """)


@app.cell
def _(in_memory, memo, trained):
    tables = in_memory(trained, ["confidence"])
    compared = memo.compare(tables)
    return compared, tables


@app.cell
def _(compared, mo):
    mo.md("\n\n".join(f"- {finding}" for finding in compared.findings))


@app.cell
def _(compared, mo):
    mo.hstack([compared.figures[name] for name in ("accuracy", "loss", "confidence")])


@app.cell
def _(compared):
    compared.tables.differences.query("scale == 'difference'")[["measure", "value", "low", "high", "n"]].round(3)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Probe

    `memo.measure` measures trained networks by the suite's probes (`memo.probes.PROBES`). `confidence` is the mean of the largest
    softmax output, on test images and on inputs that show no digit:
    """)


@app.cell
def _(tables):
    confidence = tables.confidence.merge(tables.trials[["trial", "labels.kind"]], on="trial")
    confidence.pivot_table("mean_confidence", "inputs", "labels.kind", sort=False).round(3)
    return (confidence,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    The weights are there as well, with one row per network: anything else is a few lines. How large have the weights of each
    layer become?
    """)


@app.cell
def _(np, trained):
    import pandas as pd

    norms = pd.DataFrame(
        {"labels": trial.recipe.labels.kind, "layer": number, "norm": float(np.linalg.norm(weights))}
        for each in trained
        for number, layer in enumerate(each.layers, start=1)
        for trial, weights in zip(each.trials, layer.weights)
    )
    norms.groupby(["layer", "labels"], sort=False)["norm"].agg(["mean", "std"]).round(2)
    return (norms,)


if __name__ == "__main__":
    app.run()
