"""Speed: how much longer shuffled labels take than true ones."""

import pandas as pd

from experiments.headline.networks import read, widths_of
from memo.commands.evidence import Evidence
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.statistics.curve_shape import time_to
from memo.statistics.curve_summary import rises
from memo.statistics.over_seeds import slowdown
from memo.storage.run_folders import Tables

LEVELS = (50, 90, 99)


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return each network's epochs to 50, 90 and 99 % training accuracy, and until its loss has fallen by these percentages."""
    rows = []
    for keys, curve in evidence.curves():
        times = {
            f"{kind}_t{level}": time_to(curve["epoch"], rise, level / 100)
            for kind, rise in rises(curve).items()
            for level in LEVELS
        }
        rows.append(keys | times)
    columns = [f"{kind}_t{level}" for kind in ("accuracy", "loss") for level in LEVELS]
    return {"networks": pd.DataFrame(rows, columns=["trial", "arm", "seed", *columns])}


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how many times longer shuffled labels take; a curve that never reaches the level makes it a lower bound."""
    networks = read(tables)
    for width in widths_of(networks):
        for level in (90, 99):
            times = slowdown(networks, networks, f"accuracy_t{level}", width)
            answers.give("faster-t{level}-{width}", times, level=level, width=width)
        # A bound that lies beyond five decides as well as an estimate does.
        answers.give("constant-factor-{width}", slowdown(networks, networks, "accuracy_t99", width), width=width)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Return the finding; the times are drawn beside the shapes of the curves."""
    networks, text = read(tables), Text("experiments.headline", "speed")
    largest = widths_of(networks)[-1]
    facts = {level: answers[f"faster-t{level}-{largest}"] for level in (90, 99)}
    return Chapter(
        title="Time to fit",
        findings=[text.block("finding", largest=largest, images=int(networks["images"].max()), factor=facts)],
        methods=[text.block("methods")],
    )
