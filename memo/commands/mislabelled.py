"""What networks answer of their mislabelled training images along training: the true class, the given label, or another one.

Read from the probe `training_answers@n`, which follows the first images of each training subset.
"""

import numpy as np
import pandas as pd

from memo.commands.evidence import Evidence
from memo.probes.training_answers import WATCHED


def along(evidence: Evidence, arm: str) -> pd.DataFrame:
    """Return a row for each network of an arm and evaluation: arm, trial, seed, step, epoch and the columns of `shares`."""
    rows, sets, true = evidence.of(arm, "training_answers_along"), evidence.training_sets(arm), evidence.dataset
    parts = []
    for trial, own in rows.groupby("trial"):
        places, given = (values[:WATCHED] for values in sets[trial])
        answers = np.stack([np.frombuffer(row, np.uint8) for row in own["training_answers"]])
        found = shares(answers, given, true.train_labels[places])
        parts.append(own[["trial", "seed", "step", "epoch"]].assign(arm=arm, **found))
    columns = ["trial", "seed", "step", "epoch", "arm", "true_class", "given_label"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def shares(answers: np.ndarray, given: np.ndarray, true: np.ndarray) -> dict[str, np.ndarray]:
    """Return shares [E] of the mislabelled images [n] to which answers [E, n] assign their true class and their given label.

    NaN where no image is mislabelled.
    """
    wrong = given != true
    if not wrong.any():
        return dict.fromkeys(("true_class", "given_label"), np.full(len(answers), np.nan))
    seen = answers[:, wrong]
    return {"true_class": (seen == true[wrong]).mean(axis=1), "given_label": (seen == given[wrong]).mean(axis=1)}
