"""The report on memorisation: its chapters, in the order of the paper, title, shared methods and limits."""

from experiments.closer_look import capacity, early_learning, easy_examples, noise, regularisers, sensitivity, talk
from memo.commands.analysis import Analysis, Front
from memo.commands.evidence import Evidence
from memo.reporting.answers import Answers
from memo.reporting.chapter import Text
from memo.storage.run_folders import Tables

ARMS = {
    "easy_real": "Easy examples",
    "noise_inputs": "Noise",
    "widths": "Capacity",
    "free": "Regularisers",
    "talk": "The talk",
}


def front(evidence: Evidence, tables: Tables, answers: Answers) -> Front:
    """Return the title, the recipes, and limits."""
    text, recipes = Text("experiments.closer_look", "front"), {}
    for arm, words in ARMS.items():
        own = [trial.recipe for trial in evidence.asked_trials(arm)]
        varied = {
            "images": [f"{one.dataset.n_train:,}" if one.dataset.n_train else "all" for one in own],
            "layers": ["-".join(map(str, one.model.widths)) for one in own],
            "rates": [f"{one.optimizer.learning_rate:g}" for one in own],
        }
        recipes[words] = {"recipe": own[0]} | {name: list(dict.fromkeys(each)) for name, each in varied.items()}
    return Front(
        title=text.block("title"),
        methods=[text.block("networks", recipes=recipes), text.block("pairs")],
        not_shown=[evidence.divergence(), *(text.block(name) for name in text.blocks if name.startswith("limit_"))],
    )


CHAPTERS = (easy_examples, sensitivity, noise, early_learning, capacity, regularisers, talk)
analyse = Analysis("experiments.closer_look", CHAPTERS, front)
