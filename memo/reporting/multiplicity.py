"""Many claims at once: how many of those reproduced stay so when all are tested together."""

from dataclasses import dataclass

import pandas as pd

from memo.reporting import claims
from memo.statistics.multiplicity import benjamini_hochberg, holm

LEVEL = 0.05


@dataclass(frozen=True)
class Multiplicity:
    """Of `reproduced` claims with a p-value, how many remain under the two corrections."""

    reproduced: int
    benjamini_hochberg: int
    holm: int

    @property
    def sentence(self) -> str:
        """The statement that stands beside the ledger."""
        if not self.reproduced:
            return "No claim is reproduced, so none can be so by chance."
        return (
            f"Of {self.reproduced} reproduced claims {self.benjamini_hochberg} remain when at most {100 * LEVEL:g} % of them "
            f"may be false (Benjamini and Hochberg, over the whole ledger), and {self.holm} when the chance of a single "
            f"false one is held at {100 * LEVEL:g} % within each source (Holm). p: one-sided, against the nearer end of the "
            "expected range."
        )


def of_ledger(ledger: pd.DataFrame) -> Multiplicity:
    """Return what remains of a ledger's reproduced claims; all claims with a p-value are tested, controls are none."""
    tested = ledger[ledger["p"].notna() & (ledger["verdict"] != claims.CONTROL)]
    reproduced = (tested["verdict"] == claims.REPRODUCED).to_numpy()
    together = benjamini_hochberg(tested["p"]) <= LEVEL
    apart = tested.groupby("source")["p"].transform(lambda p: holm(p)).to_numpy(float) <= LEVEL
    return Multiplicity(int(reproduced.sum()), int((reproduced & together).sum()), int((reproduced & apart).sum()))
