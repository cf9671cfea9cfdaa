"""The report on label noise: its chapters, title, shared methods and limits."""

from experiments.label_noise import descent, early, kinds, massive
from experiments.label_noise.networks import NOISY
from memo.commands.analysis import Analysis, Front
from memo.commands.evidence import Evidence
from memo.reporting.answers import Answers
from memo.reporting.chapter import Text
from memo.storage.run_folders import Tables


def front(evidence: Evidence, tables: Tables, answers: Answers) -> Front:
    """Return the title, the methods that all chapters share, and what is not shown."""
    text, recipe = Text("experiments.label_noise", "front"), evidence.asked_trials(NOISY)[0].recipe
    return Front(
        title=text.block("title"),
        methods=[text.block("networks", recipe=recipe)],
        not_shown=[evidence.divergence(), *(text.block(name) for name in text.blocks if name.startswith("limit_"))],
    )


CHAPTERS = (early, massive, descent, kinds)
analyse = Analysis("experiments.label_noise", CHAPTERS, front)
