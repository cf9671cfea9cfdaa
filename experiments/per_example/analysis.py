"""The report on single examples: its chapters, title, shared methods and limits, and the file with all scores."""

import pandas as pd

from experiments.per_example import agreement, attack, forgetting, held_out, influence, memorised, widths
from experiments.per_example.scores import CLEAN, NOISY
from memo.commands.analysis import Analysis, Front
from memo.commands.evidence import Evidence
from memo.reporting.answers import Answers
from memo.reporting.chapter import Text
from memo.storage.run_folders import Tables, replacing


def front(evidence: Evidence, tables: Tables, answers: Answers) -> Front:
    """Return the title, the recipe, and limits; write the scores of all images beside the report."""
    text, recipe = Text("experiments.per_example", "front"), evidence.asked_trials(NOISY)[0].recipe
    write_scores(evidence, tables["images"].merge(tables["attack"].rename(columns={"found": "membership"}), on="image"))
    facts = {"recipe": recipe, "clean": len(evidence.of(CLEAN)), "noisy": len(evidence.of(NOISY))}
    return Front(
        title=text.block("title", **facts),
        methods=[text.block("networks", **facts), text.block("file")],
        not_shown=[evidence.divergence(), *(text.block(name) for name in text.blocks if name.startswith("limit_"))],
    )


def write_scores(evidence: Evidence, table: pd.DataFrame) -> None:
    """Write scores.parquet: a row for each image, by data set and place in its training files, with all scores and their errors."""
    with replacing(evidence.folder / "scores.parquet") as path:
        table.assign(dataset=evidence.dataset.name).to_parquet(path, index=False)


CHAPTERS = (memorised, influence, held_out, forgetting, agreement, attack, widths)
analyse = Analysis("experiments.per_example", CHAPTERS, front)
