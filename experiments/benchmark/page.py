"""The benchmark's outputs for people: tables as CSV, figures, the environment, and one Markdown page."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.benchmark import contestants as who
from experiments.benchmark import drawings, environment, goals, launchers, ours, results, suite
from experiments.benchmark.journal import FILE, Journal
from experiments.benchmark.sizes import Sizes
from memo.reporting import claims
from memo.reporting.report import number, with_interval
from memo.statistics.intervals import Estimate
from memo.storage.run_folders import replacing

NOTES = "docs/performance.md"
UNIT = results.UNITS[who.EXAMPLES][1]


def write(journal: Journal, sizes: Sizes, folder: Path, command: str, sweep: bool) -> None:
    """Write every output from the readings so far; `sweep` says whether this command measures the sweep of jobs."""
    table = results.table(journal, sizes)
    platform = journal.environment["device"]["platform"]
    reached = goals.judge(table, platform)
    jobs = results.sweep(journal, sizes.jobs)
    claims.write(table, folder / "benchmark.csv")
    claims.write(reached, folder / "goals.csv")
    if len(jobs):
        claims.write(jobs, folder / "sweep.csv")
    about = journal.environment | journal.origin | {"sizes": vars(sizes)}
    with replacing(folder / "environment.json") as path:
        path.write_text(json.dumps(about, indent=1) + "\n")
    parts = [
        "# Speed benchmark\n",
        f"Written by `{command}` from the readings in [{FILE}]({FILE}).\n",
        "## Finding\n",
        *_finding(table, reached, jobs, about),
        "\n## Goals and what was measured\n",
        _goals(reached),
        "\n## All contestants\n",
        _contestants(table, *goals.BOUND[platform]),
        "\n## Figures\n",
        *_figures(table, jobs, sizes, folder, sweep, *goals.BOUND[platform]),
        "\n## Method\n",
        *_method(table, sizes, len(jobs) > 0),
        "\n## What limits what was not reached\n",
        f"{_link(folder)} says what was tried, what explains these numbers, and what stands between them and the goals.\n",
        "\n## Environment\n",
        *_environment(about),
    ]
    with replacing(folder / "benchmark.md") as path:
        path.write_text("\n".join(parts))


def _link(folder):
    notes, own = environment.ROOT / NOTES, folder.resolve()
    # From a folder elsewhere a link would hold a path of this machine.
    inside = own.is_relative_to(environment.ROOT)
    return f"[{NOTES}]({os.path.relpath(notes, own)})" if inside else f"`{NOTES}` of the repository"


def _estimate(row, column):
    low, high = (row["low"], row["high"]) if column == "median" else (row[f"{column}_low"], row[f"{column}_high"])
    return Estimate(float(row[column]), float(low), float(high), int(row["n"]))


def _thousands(row):
    value, low, high = (row[name] / 1e3 for name in ("median", "low", "high"))
    if np.isnan(low):
        return f"{number(value)} k (n = {row['n']}, no interval)"
    return f"{number(value)} k [{number(low)}, {number(high)}]"


def _largest(table):
    own = table[table["part"] == "comparison"]
    return own[own["networks"] == own.groupby("width")["networks"].transform("max")]


def _finding(table, reached, jobs, about):
    device = about["device"]
    place = f"{device['count']} × {device['kind']}" if device["platform"] == "gpu" else f"{device['cores']} CPU cores"
    bound, words = goals.BOUND[device["platform"]]
    known = reached[reached["reached"].isin(["true", "false"])]
    count = (known["reached"] == "true").sum()
    yield f"On {place} ({device['processor']}) {count} of the {len(known)} goals that could be measured are reached.\n"
    for width, own in _largest(table).groupby("width"):
        own = own.set_index("contestant")
        mine = own.loc[who.OURS]
        if pd.isna(mine["median"]):
            yield f"- **Width {width}**, {mine['networks']} networks: {mine['missing']}."
            continue
        ratios = []
        for peers, name in (
            ((who.LOOP,), "the PyTorch loop"),
            (who.VMAP, "torch.func.vmap"),
            (who.COMPILED, "vmap + compile"),
        ):
            there = own.loc[[peer for peer in peers if peer in own.index]]
            if there["median"].notna().any():
                peer = there.loc[there["median"].idxmax()]
                ratios.append(f"{with_interval(_estimate(peer, 'ours_over_this'), count=False)} times {name}")
        against = f", {', '.join(ratios)}" if ratios else ""
        share = with_interval(_estimate(mine, bound), count=False)
        yield (
            f"- **Width {width}**, {mine['networks']} networks: {_thousands(mine)} examples/s{against}; "
            f"{words}: {share} (n = {mine['n']})."
        )
    grown = table[(table["part"] == "growth") & (table["contestant"] == who.OURS) & table["median"].notna()]
    for width, own in grown.groupby("width"):
        own = own.sort_values("networks")
        first, last = own.iloc[0], own.iloc[-1]
        if last["networks"] > first["networks"]:
            times = last["networks"] / first["networks"] * first["median"] / last["median"]
            yield (
                f"- **Growth at width {width}**: {last['networks']} networks take {number(times)} times as long as "
                f"{first['networks']} (n = {last['n']})."
            )
    named = jobs.set_index("launcher") if len(jobs) else jobs
    if {launchers.BASIC, launchers.POPULATION} <= set(named.index):
        basic, mine = named.loc[launchers.BASIC], named.loc[launchers.POPULATION]
        basis = f", extrapolated from {basic['jobs_measured']} jobs" if basic["extrapolated"] else ""
        yield (
            f"- **A sweep of {mine['jobs']} tiny jobs**, from the shell: {number(mine['seconds'])} s with the population "
            f"launcher, {number(basic['seconds'])} s with Hydra's basic one{basis} (n = 1 each): "
            f"{number(basic['seconds'] / mine['seconds'])} times."
        )
    published = table[(table["part"] == "published") & table["median"].notna()]
    for _, row in published.iterrows():
        seconds = row["networks"] * row["examples_per_network"] / row["median"]
        yield f"- **Published workload**, {row['networks']} networks: {number(seconds)} s, compiling included (n = {row['n']})."
    if (table["missing"] == who.NO_TORCH).any():
        yield f"\n**{who.NO_TORCH}: every PyTorch row is missing** (`python -m pip install -e '.[bench]'`)."


def _markdown(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)]) + "\n"


def _goals(reached):
    rows = []
    for row in reached.to_dict("records"):
        bound = f"at least {row['at_least']:g}" if not pd.isna(row["at_least"]) else f"at most {row['at_most']:g} s"
        measured = "–"
        if not pd.isna(row["measured"]):
            estimate = Estimate(row["measured"], row["low"], row["high"], int(row["n"]))
            measured = with_interval(estimate)
        width = "" if pd.isna(row["width"]) else row["width"]
        rows.append((row["device"], width, row["goal"], bound, measured, row["reached"], row["note"]))
    return _markdown(("on", "width", "quantity", "goal", "measured", "reached", "note"), rows)


def _population(row):
    return (
        f"{'-'.join(map(str, suite.PUBLISHED_HIDDEN)) if pd.isna(row['width']) else row['width']} × {row['networks']}"
    )


def _contestants(table, bound, words):
    rows: list[tuple] = []
    missing: dict[tuple[str, str], list[str]] = {}
    for row in table[table["part"] != "growth"].to_dict("records"):
        population = _population(row)
        if pd.isna(row["median"]):
            missing.setdefault((row["contestant"], row["missing"]), []).append(population)
            continue
        training = row["unit"] == UNIT
        rate = _thousands(row) if training else with_interval(_estimate(row, "median"), count=False)
        rows.append(
            (
                population,
                row["contestant"],
                f"{rate} {row['unit']}",
                row["n"],
                number(row["gflop_per_second"]) if training else "",
                with_interval(_estimate(row, bound), count=False) if training and not pd.isna(row[bound]) else "",
                "" if pd.isna(row["ours_over_this"]) else with_interval(_estimate(row, "ours_over_this"), count=False),
                number(row["compile_seconds"], 1) if row["compile_seconds"] else "",
            )
        )
    header = (
        "width × networks",
        "contestant",
        "median [lowest, highest]",
        "n",
        "GFLOP/s",
        words,
        "ours / this",
        "compile, s",
    )
    left_out = [f"- {name}: {reason} (at {', '.join(where)})." for (name, reason), where in missing.items()]
    return "\n".join([_markdown(header, rows), *(["Not in the table:\n", *left_out] if left_out else []), ""])


def _figures(table, jobs, sizes, folder, sweep, bound, words):
    own = _largest(table)
    own = own[(own["contestant"] == who.OURS) & own["median"].notna()]
    best, worst = (own.loc[pick(own[bound].astype(float))] for pick in (pd.Series.idxmax, pd.Series.idxmin))
    yield f"![Examples a second and {words} by width, for all contestants]({drawings.throughput(table, bound, words, folder)})\n"
    lowest = f", and lowest at width {worst['width']}, {with_interval(_estimate(worst, bound))}" if len(own) > 1 else ""
    yield (
        f"The {words} that our training reaches is highest at width {best['width']}, "
        f"{with_interval(_estimate(best, bound))}{lowest}. Points: medians; bars: the lowest and the highest reading; "
        "beside each other at one width for legibility. Grey: what XLA's best square product (dashed) and the best copy "
        "(dotted) in the same run would allow; networks that stay in a cache may pass the second.\n"
    )
    first = table[(table["part"] == "growth") & (table["contestant"] == who.OURS) & table["median"].notna()]
    if len(first):
        first = first[first["width"] == first["width"].min()].sort_values("networks")
        low, high = first.iloc[0], first.loc[first["median"].astype(float).idxmax()]
        yield f"![Time of a step and examples a second against the number of networks]({drawings.growth(table, folder)})\n"
        yield (
            f"At width {low['width']} our throughput grows from {_thousands(low)} examples/s with {low['networks']} "
            f"network{'s' if low['networks'] > 1 else ''} to {_thousands(high)} with {high['networks']}, where it is highest "
            f"(n = {high['n']}). Above: microseconds for one step of all networks; below: examples a second over all of "
            "them; points and bars as above. The PyTorch loop is drawn as the line that its measured speed implies.\n"
        )
        left = table[(table["part"] == "growth") & (table["missing"] != "")]
        for row in left.to_dict("records"):
            yield f"- Width {row['width']}, {row['networks']} networks, {row['contestant']}: {row['missing']}."
    if len(jobs):
        basic = jobs[jobs["extrapolated"]]
        yield f"\n![Seconds of the whole sweep by launcher]({drawings.sweep(jobs, folder)})\n"
        words = [f"{row['launcher']}: {number(row['seconds'])} s" for row in jobs.to_dict("records")]
        yield f"A sweep of {jobs['jobs'].iloc[0]} jobs from the shell takes {'; '.join(words)} (n = 1 each, results folders empty)."
        for row in basic.to_dict("records"):
            yield (
                f"Of the {row['launcher']} launcher {row['jobs_measured']} jobs were measured, in "
                f"{number(row['seconds_measured'])} s; the hatched rest is extrapolated at "
                f"{number(row['seconds_per_further_job'])} s a further job, start-up not counted again."
            )
    elif not sweep:
        yield "\nThe sweep of many jobs by Hydra's launchers is left out: `python -m experiments.benchmark` measures it."


def _method(table, sizes, swept):
    work = _largest(table).drop_duplicates("width")
    shown = ", ".join(
        f"{row['images']:,} images for {row['epochs']} epochs at width {row['width']}"
        for row in work.to_dict("records")
    )
    yield (
        "Work: the MLP 784-w-w-10, ReLU, cross-entropy, SGD with momentum 0.9, float32, batch 128, MNIST in memory. All "
        f"contestants take the same number of steps over the same images: {shown}, chosen so that our population would "
        f"take about {sizes.seconds:g} s at half of the machine's limits. The networks of all torch.func.vmap rows train "
        "together; a loop's time is linear in its networks, so it trains as many as take about as long and its rate is "
        "reported. Operations of a step: (6 × weights − 2 × 784 × w) × batch.\n"
    )
    yield (
        f"Ours is `memo.training.execution.train` on seeds × (true, shuffled labels) × learning rates: four rates, so eight "
        f"networks a seed, from 32 networks on; two rates below, one for two networks. Networks of one seed share their minibatches, seeds do not. No network "
        f'stops early. Its time is `seconds["train"]` and holds three evaluations of all training images and of '
        f"{ours.TEST_IMAGES} test images, which no peer makes. Preparing the data and compiling are not in it.\n"
    )
    yield (
        "Peers: PyTorch loops with set_to_none and the faster of foreach and fused SGD; torch.func.vmap with a foreach "
        "update, every network with its own minibatches, and as a row of its own all with a shared one; the ratio uses "
        "the faster row. Each PyTorch peer tries the default number of threads and one, and keeps the fastest of its "
        "options (the note column of benchmark.csv). The JAX peer is one network at a time, its whole training one "
        "jitted program. A loop is one process; several side by side would use the cores better and are not measured. "
        "On a GPU float32 products may use TF32 in PyTorch and in XLA alike; both hold memory of the same GPU, so the "
        "number of networks at which a peer runs out of it is a lower bound.\n"
    )
    yield (
        f"Timing: after a warm-up of each contestant, repetition 1 of all of them, then 2, up to {sizes.repetitions} "
        f"({sizes.growth_repetitions} where networks grow in number); each time another one goes first. Values are "
        "medians with the lowest and the highest reading: the range of five readings covers the true median with "
        "probability 0.94. Ratios and shares are medians of the readings paired by repetition. Limits of the machine are "
        "measured among them: products of square matrices of side "
        f"{', '.join(map(str, sizes.limit_sides))}, and copies of {sizes.copy_megabytes} MB, counted as read and written.\n"
    )
    if swept:
        yield (
            "Sweep: `python -m experiments.train --multirun` with "
            f"`{' '.join(launchers.RECIPE)}`, as a process of its own, into an empty folder; seconds from its start to "
            "its end. The basic launcher finds its programs compiled."
        )
    if not sizes.published_networks:
        yield "\nThe published workload (2,000 networks 784-512-256-10) is left out at this scale."


def _environment(about):
    device = about["device"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    yield f"- {device['processor']}, {device['cores']} cores; {device['count']} {device['platform']} devices ({device['kind']})"
    yield f"- threads of one PyTorch operation: {device['torch_threads'] or who.NO_TORCH}"
    yield f"- {versions}"
    if about["load"] is not None:
        yield f"- load when measuring began, in processes of whatever kind: {about['load']}"
    git = about["git"]
    yield (
        f"- commit {git['commit']}{', with changes' if git['changed'] else ''}" if git else "- not in a git repository"
    )
    yield "- all of it: [environment.json](environment.json)\n"
