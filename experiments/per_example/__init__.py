"""Example by example: what is memorised, and how can one tell?

    python -m experiments.per_example                  about 15 minutes on two cores
    python -m experiments.per_example scale=quick      under a minute: the pipeline, not the finding
    python -m experiments.per_example scale=reference  about 40 minutes: 1,000 networks on noisy labels

Networks are trained on random shares of one pool of images, a tenth of whose labels is redrawn; others on the whole pool. Every image
is scored: memorisation (what networks trained on it know about it beyond the others), C-score, forgetting, EL2N, area under the
margin, data map, curvature, second-split forgetting, exposure to membership inference. `scores.parquet` has all scores by the image's place in the data set's
files:

    import pandas as pd
    from memo.data import datasets

    scores = pd.read_parquet("results/per_example/scores.parquet").sort_values("memorisation")
    images = datasets.load(scores["dataset"].iloc[0]).train_images[scores["image"]]

`labels.file=<csv or npy>` (docs/data.md) scores your labels: the images of the figure "most memorised" are those to look at, and the AUROC for
redrawn labels says how well wrong ones are found; `dataset.n_train=null` takes all images instead of 10,000.

Expected: redrawn labels have a memorisation near 1, and nearly all of them lie above the images with their true label.
"""
