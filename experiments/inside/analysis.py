"""The report on the inside of networks: its chapters, title, shared methods and limits."""

from experiments.inside import connectivity, kernel, layers, norms, pretraining, stability
from experiments.inside.networks import LEARNED
from memo.commands.analysis import Analysis, Front
from memo.commands.evidence import Evidence
from memo.reporting.answers import Answers
from memo.reporting.chapter import Text
from memo.storage.run_folders import Tables


def front(evidence: Evidence, tables: Tables, answers: Answers) -> Front:
    """Return the title, the recipe that most chapters share, and limits."""
    text, recipe = Text("experiments.inside", "front"), evidence.asked_trials(LEARNED)[0].recipe
    return Front(
        title=text.block("title"),
        methods=[text.block("networks", recipe=recipe)],
        not_shown=[evidence.divergence(), *(text.block(name) for name in text.blocks if name.startswith("limit_"))],
    )


CHAPTERS = (norms, kernel, layers, pretraining, connectivity, stability)
analyse = Analysis("experiments.inside", CHAPTERS, front)
