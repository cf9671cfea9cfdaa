"""The generated parts of the documents of a clone: the keys from memo.config, the README's tables from results/.

python -m memo.commands.documents     after a key, a probe or a result has changed: seconds, in the clone's folder

memo.config, conf/ ──> docs/keys.md
results/<name>/ ─────> README.md, between <!-- finding --> or <!-- experiments --> and the end of that part
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from memo.commands.arms import SWEEP
from memo.config import CONF, Config
from memo.errors import Refusal
from memo.reporting import results, sentences, sources
from memo.reporting.report import number, with_interval
from memo.reporting.results import Result
from memo.statistics.intervals import Estimate, mean_interval

WIDTH = "512"  # units per layer of the networks in the README's table
_OF_NETWORKS = {
    "training accuracy": "final_train_accuracy",
    "accuracy on test images": "final_test_accuracy",
    "epochs to 99 % training accuracy": "accuracy_t99",
    "R² of a straight line through the training loss": "loss_linearity",
    "mean confidence on test images": "confidence_test",
    "mean confidence on uniform noise": "confidence_uniform",
}
# The claims whose numbers compare the two columns, by row.
_COMPARED = {
    "epochs to 99 % training accuracy": ("faster-t99-{}", "× {}"),
    "R² of a straight line through the training loss": ("straighter-loss-{}", "+ {}"),
}


def write(root: Path) -> None:
    """Write the generated parts of the documents of the clone at `root`; Refusal where it is none, or lacks results."""
    readme = root / "README.md"
    if not readme.exists():
        raise Refusal(f"{root.resolve()} holds no README.md; start this in a clone of the suite.")
    (root / "docs" / "keys.md").write_text(keys(), encoding="utf-8")
    text = replaced(readme.read_text(encoding="utf-8"), parts(root / "results"))
    readme.write_text(text, encoding="utf-8")


def parts(folder: Path) -> dict[str, str]:
    """Return the generated parts of the README by name, from results below `folder`."""
    (headline,) = (each for each in results.experiments() if each.name == "headline")
    found = results.best(headline, folder)
    return {"finding": f"{_picture(found)}\n\n{finding(folder / found.folder)}", "experiments": experiments(folder)}


def replaced(text: str, by_name: Mapping[str, str]) -> str:
    """Return a document with its generated parts replaced; Refusal for a part that it does not mark."""
    for name, part in by_name.items():
        before, begin, rest = text.partition(f"<!-- {name} -->")
        _, end, after = rest.partition(f"<!-- end of {name} -->")
        if not end:
            raise Refusal(f"README.md marks no part <!-- {name} --> to <!-- end of {name} -->.")
        text = f"{before}{begin}\n\n{part}\n\n{end}{after}"
    return text


def _picture(found: Result) -> str:
    """Return the findings in one picture, as a line of Markdown; nothing where the result has none."""
    return f"![{found.summary.alt}](results/{found.folder}/{found.summary.file})" if found.summary else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def finding(folder: Path) -> str:
    """Return the differences between networks of WIDTH units on true and on shuffled labels, as a table."""
    found = results.load(folder)
    if "networks" not in found:
        raise Refusal(f"{folder} has no tables/networks.csv; python -m experiments.headline writes it.")
    twins = found.networks[found.networks["arm"] == SWEEP]
    networks = twins[twins["width"].astype(str) == WIDTH]
    if networks.empty:
        raise Refusal(f"{folder} has no networks of {WIDTH} units per layer.")
    by_labels = dict(list(networks.groupby("labels")))
    compared = found.claims.set_index("claim")
    rows = []
    for words, column in _OF_NETWORKS.items():
        means = [number(mean_interval(by_labels[labels][column]).value) for labels in ("true", "shuffled")]
        rows.append([words, *means, _comparison(compared, *_COMPARED[words]) if words in _COMPARED else ""])
    seeds, images = networks["seed"].nunique(), int(networks["images"].iloc[0])
    head = [
        f"two layers of {WIDTH} units, {images:,} images, means over {seeds} seeds",
        "true labels",
        "shuffled labels",
    ]
    return _table([*head, "shuffled against true [95 % interval]"], rows)


def _comparison(claims: pd.DataFrame, claim: str, words: str) -> str:
    row = claims.loc[claim.format(WIDTH)]
    return words.format(with_interval(Estimate(row["measured"], row["low"], row["high"], int(row["n"])), count=False))


def experiments(folder: Path) -> str:
    """Return the experiments below `folder` that judge sentences, and how many of those of sources hold, as a table."""
    found = [results.best(each, folder) for each in results.experiments()]
    there = [result for result in found if (folder / result.folder / "claims.csv").exists()]
    rows = [_experiment(result) for result in there if result.state != results.COMPLETE or len(result.ledger)]
    return _table(["question", "main sources", *_VERDICTS, "command"], rows)


_VERDICTS = {
    "hold": [sentences.HOLDS],
    "in part": [sentences.IN_PART],
    "do not": [sentences.DOES_NOT],
    "open": [sentences.UNDECIDED, sentences.NOT_TESTED],
}


def _experiment(result: Result) -> list[str]:
    """Return the row of an experiment; its counts are missing where its results cannot be read."""
    table = sentences.table(result.ledger)
    told = table[table["kind"] != sources.OWN]
    counts = [str(told["verdict"].isin(verdicts).sum()) if len(told) else "–" for verdicts in _VERDICTS.values()]
    name = f"[{result.experiment.question}](results/{result.folder}/report.html)"
    takes = result.experiment.takes.removesuffix(" on two cores")
    counted = f"; counted at `scale={results.REFERENCE}`" if result.folder.startswith(f"{results.REFERENCE}/") else ""
    return [
        name,
        ", ".join(_most_named(told["source"])[:2]),
        *counts,
        f"`{result.experiment.command}`, {takes}{counted}",
    ]


def _most_named(names: pd.Series) -> list[str]:
    """Return the names by how often they stand there, those of a tie as they come first."""
    return list(names.groupby(names, sort=False).size().sort_values(ascending=False, kind="stable").index)


def keys() -> str:
    """Return docs/keys.md: every key of a command, allowed values, default, meaning; and the groups of conf/."""
    rows = [
        [f"`{name}`", str(key.metadata["allowed"]), f"`{_written(_default(key))}`", key.metadata["about"]]
        for name, key in _of(Config)
    ]
    return _KEYS.format(keys=_table(["key", "allowed", "default", "meaning"], rows), groups=_groups())


_KEYS = """# Keys of the commands

Generated from `memo/config.py` and `conf/` by `python -m memo.commands.documents`; a test holds it.

A key is set on the command line, as in `python -m experiments.train labels.kind=shuffled seeds=5`, or by its dotted name in
`memo.make_recipe({{"labels.kind": "shuffled"}})`. Defaults are those of the schema; `scale` and the groups below set some of them
(`python -m experiments.train --cfg job` prints what a command uses). Keys below `experiment` belong to configurations of
experiments: [extending.md](extending.md#an-experiment).

{keys}

Groups of ready choices, one file each below `conf/`, chosen by name as in `optimizer=adam`:

{groups}
"""


def _of(config: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each key that a command line may set, by its dotted name, and its field."""
    for key in fields(config):
        if "about" in key.metadata:
            yield prefix + key.name, key
        elif is_dataclass(key.type) and key.name != "experiment":
            yield from _of(key.type, f"{prefix}{key.name}.")  # type: ignore[arg-type]


def _default(key: Any) -> Any:
    return key.default_factory() if callable(key.default_factory) else key.default


def _written(value: Any) -> str:
    """Return a value as it is written on a command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)


def _groups() -> str:
    folders = sorted(path for path in CONF.iterdir() if path.is_dir())
    named = {folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in folders}
    return _table(
        ["group", "choices"], [[f"`{name}`", ", ".join(f"`{each}`" for each in own)] for name, own in named.items()]
    )


if __name__ == "__main__":
    try:
        write(Path())
    except Refusal as refusal:
        raise SystemExit(f"Refused: {refusal}") from None
