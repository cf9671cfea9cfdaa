"""The report: its chapters, in the order of the talk, title, shared methods and limits."""

from experiments.digits import accuracy, book, descent, doubt, drawing, first_layer, mistakes, noise, valleys
from experiments.digits.networks import RECIPES, name_of
from memo.commands.analysis import Analysis, Front
from memo.commands.evidence import Evidence
from memo.reporting.answers import Answers
from memo.reporting.chapter import Text
from memo.storage.run_folders import Tables


def front(evidence: Evidence, tables: Tables, answers: Answers) -> Front:
    """Return the title, the recipes, and limits."""
    networks, text = tables["networks"], Text("experiments.digits", "front")
    images = networks.groupby("arm")["images"].max()
    recipes = {
        words: evidence.of(arm).iloc[0].to_dict() | {"asked": evidence.asked(arm), "images": images[arm]}
        for arm, words in RECIPES.items()
        if len(evidence.of(arm))
    }
    facts = {
        "recipes": recipes,
        "structure": name_of(networks, "nielsen"),
        "divergence": evidence.divergence(),
    }
    return Front(
        title=text.block("title"),
        methods=[text.block("networks", **facts)],
        closing_methods=[text.block("intervals")],
        not_shown=[text.block(name, **facts) for name in text.blocks if name.startswith("limit_")],
    )


CHAPTERS = (accuracy, book, valleys, descent, mistakes, first_layer, noise, doubt, drawing)
analyse = Analysis("experiments.digits", CHAPTERS, front)
