"""The report: its chapters, the question first, title, shared methods and limits."""

from experiments.noise_confidence import calibration, elsewhere, equal, explanations, far, fooling, hendrycks, kinds
from experiments.noise_confidence.networks import BY_WIDTH, MARKS, read
from memo.commands.analysis import Analysis, Front
from memo.commands.evidence import Evidence
from memo.reporting.answers import Answers
from memo.reporting.chapter import Text
from memo.storage.run_folders import Tables


def front(evidence: Evidence, tables: Tables, answers: Answers) -> Front:
    """Return the title, the recipe of the networks by width, and limits."""
    networks, text = read(tables, *BY_WIDTH), Text("experiments.noise_confidence", "front")
    recipes = evidence.tables.trials.set_index("trial").loc[networks["trial"]]
    fitted = networks.groupby(["width", "labels"], sort=False)["fitted"].agg(["sum", "size"])
    tested = recipes["dataset.n_test"].iloc[0]
    facts = {
        "recipe": recipes.iloc[0],
        "images": int(networks["images"].max()),
        "tested": len(evidence.dataset.test_labels) if tested != tested else int(tested),
        "seeds": networks["seed"].nunique(),
        "changed": recipes[recipes["labels.kind"] == "random"]["labels.changed"].mean(),
        "unfitted": [
            f"{count} of {asked} on {MARKS[labels].name} at width {width}"
            for (width, labels), count, asked in zip(fitted.index, fitted["sum"], fitted["size"])
            if count < asked
        ],
        "divergence": evidence.divergence(),
    }
    return Front(
        title=text.block("title"),
        methods=[text.block("networks", **facts)],
        closing_methods=[text.block("intervals")],
        not_shown=[text.block(name, **facts) for name in text.blocks if name.startswith("limit_")],
    )


CHAPTERS = (equal, explanations, elsewhere, kinds, far, hendrycks, calibration, fooling)
analyse = Analysis("experiments.noise_confidence", CHAPTERS, front)
