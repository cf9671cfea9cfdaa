"""The report on local minima: its chapters, from the paper's populations to the effect of structure."""

from experiments.local_minima import barriers, curvature, minima, structure
from memo.commands.analysis import Analysis, Front
from memo.commands.evidence import Evidence
from memo.reporting.answers import Answers
from memo.reporting.chapter import Text
from memo.storage.run_folders import Tables

ARMS = {"minima": "Minima by width", "twins": "Twins", "index_10": "Critical points"}


def front(evidence: Evidence, tables: Tables, answers: Answers) -> Front:
    """Return the title, the methods that all chapters share, and what is not shown."""
    text, networks = Text("experiments.local_minima", "front"), tables["networks"]
    arms = []
    for arm, words in ARMS.items():
        own = networks[networks["arm"] == arm]
        recipe = evidence.tables.trials.set_index("trial").loc[own["trial"].iloc[0]]
        widths = [str(width) for width in sorted(own["width"].unique())]
        facts = {"words": words, "images": int(own["images"].iloc[0]), "widths": widths, "networks": len(own)}
        arms.append(facts | {"recipe": recipe})
    limits = [text.block(name) for name in text.blocks if name.startswith("limit_")]
    return Front(
        title="Local minima: equal quality, and the role of structure",
        methods=[text.block("networks", recipe=arms[0]["recipe"], arms=arms)],
        closing_methods=[text.block("intervals")],
        not_shown=[evidence.divergence(), *limits],
    )


analyse = Analysis("experiments.local_minima", (minima, curvature, structure, barriers), front)
