"""The type of critical points found by training: the share of negative eigenvalues of the Hessian."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from experiments.local_minima.networks import KINDS, of_arms, width_axis, widths_of
from memo.commands.evidence import Evidence
from memo.probes.hessian import ZERO, eigenvalues
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.statistics.intervals import mean_interval, share
from memo.statistics.over_seeds import LOST, noted, over_seeds
from memo.storage.run_folders import Tables

ARMS = ("index_10", "index_25", "index_wider")
FEW = 0.02  # share of negative eigenvalues that counts as almost none


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return of each network the shares of eigenvalues below −0.001 and above 0.001, and its gradient's norm at the end."""
    start, end = hessians(evidence)
    shares = end.set_index("trial")[["index", "positive", "exact", "index_lanczos"]]
    before = start.set_index("trial")[["index", "positive"]].add_suffix("_start")
    along = evidence.of_all("sharpness_along").sort_values("step")
    along = along[along["arm"].isin(ARMS)]
    ends = along.groupby("trial")["gradient_norm"].agg(["first", "last"])
    facts = shares.join(before, how="outer").join((ends["last"] / ends["first"]).rename("gradient_share"), how="outer")
    own = evidence.trials[evidence.trials["arm"].isin(ARMS)][["trial", "arm", "seed"]]
    return {"networks": own.merge(facts.reset_index(names="trial"), on="trial")}


def hessians(evidence: Evidence) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of the probe before training, where it was measured along training, and after it."""
    along = (
        evidence.tables["hessian_along"]
        if "hessian_along" in evidence.tables
        else pd.DataFrame({"step": [], "trial": []})
    )
    last = along.groupby("trial")["step"].transform("max") if len(along) else along["step"]
    finals = [along[along["step"] == last].drop(columns=["step", "epoch"], errors="ignore")]
    if "hessian" in evidence.tables:
        finals.append(evidence.tables["hessian"])
    start = along[along["step"] == 0].reindex(columns=["trial", "index", "positive", "eigenvalues"])
    return start, pd.concat([part for part in finals if len(part)], ignore_index=True)


def negative_share(index: pd.Series, positive: pd.Series) -> pd.Series:
    """Return the share of negative eigenvalues among those beyond the threshold; NaN where none is."""
    return index / (index + positive).where(index + positive > 0)


def read(tables: Tables) -> pd.DataFrame:
    """Return the networks whose Hessian was measured, with the share of negative eigenvalues at the end and before."""
    networks = of_arms(tables, *ARMS)
    return networks.assign(
        negative=negative_share(networks["index"], networks["positive"]),
        negative_start=negative_share(networks["index_start"], networks["positive_start"]),
    )


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how many directions of negative curvature remain, and how near to a critical point training ended."""
    networks = read(tables)
    answers.conditions(width=widths_of(networks))
    answers.trained_on(networks)
    for (labels, width), own in networks.groupby(["labels", "width"]):
        exact = "all eigenvalues" if (own["exact"] == True).all() else "estimated by Lanczos quadrature"  # noqa: E712
        estimate, note = over_seeds(own["negative"], LOST, estimate=lambda shares: share(shares <= FEW))
        answers.give(f"index-{labels}-{{width}}", (estimate, noted(exact, note)), width=int(width))
        answers.give(f"gradient-{labels}-{{width}}", over_seeds(own["gradient_share"], LOST), width=int(width))
    for labels in KINDS:
        before = networks[networks["labels"] == labels]["negative_start"].dropna()
        answers.give("index-start-{labels}", over_seeds(before, LOST), labels=labels)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw the spectra, and the share of negative eigenvalues by width."""
    networks, text = read(tables), Text("experiments.local_minima", "curvature")
    means = networks.groupby(["labels", "width"])["negative"].mean()
    near = networks.assign(near=1 - networks["index"] - networks["positive"]).groupby("width")["near"].mean()
    facts = {
        "worst": {labels: float(means[labels].max()) for labels in KINDS if labels in means and means[labels].count()},
        "few": FEW,
        "majority": bool((near > 0.5).all()),
        "start": answers["index-start-true"],
        "narrowest": widths_of(networks)[0],
        "images": int(networks["images"].max()),
        "zero": ZERO,
    }
    file = figures.save(draw_spectra(evidence, networks), evidence.folder, "spectra")
    return Chapter(
        title="Critical points found by training",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(file, **facts)],
        methods=[text.block("methods", **facts)],
    )


def draw_spectra(evidence: Evidence, networks: pd.DataFrame) -> Drawing:
    """Return histograms of all eigenvalues by width, and the share of negative ones."""
    start, end = hessians(evidence)
    end = end[end["exact"]].merge(networks[["trial", "width", "labels"]], on="trial")
    start = start.merge(networks[["trial", "width", "labels"]], on="trial")
    widths = sorted(int(width) for width in end["width"].unique())
    figure, [row] = figures.grid(1, len(widths) + 1, width=3.1, height=2.7)
    for axes, width in zip(row, widths):
        _histogram(axes, end[end["width"] == width], start[(start["width"] == width) & (start["labels"] == "true")])
        axes.set_title(f"width {width}, all eigenvalues")
    _shares(row[-1], networks)
    figures.shared_legend(figure, row[0])
    return figure


def _histogram(axes: Axes, end: pd.DataFrame, start: pd.DataFrame) -> None:
    edges = np.concatenate([-np.geomspace(10, ZERO, 33), np.geomspace(ZERO, 100, 41)])
    shown = [(end[end["labels"] == kind], palette.LABELS[kind].color, palette.LABELS[kind].name) for kind in KINDS]
    for own, shade, name in [*shown, (start, "0.5", "before training")]:
        if len(own):
            values = np.concatenate([eigenvalues(row) for row in own["eigenvalues"]])
            counts = np.histogram(values, edges)[0] / len(values)
            axes.stairs(np.where(counts > 0, counts, np.nan), edges, color=shade, label=name, linewidth=1.4)
    axes.set_xscale("symlog", linthresh=ZERO, linscale=0.5)
    axes.set_yscale("log")
    axes.set_xticks([-1, -0.01, 0, 0.01, 1, 100], ["−1", "−0.01", "0", "0.01", "1", "100"])
    axes.minorticks_off()
    axes.set(xlabel="eigenvalue of the Hessian", ylabel="share per bin")


def _shares(axes: Axes, networks: pd.DataFrame) -> None:
    for (labels, width), own in networks.groupby(["labels", "width"]):
        values = own["negative"].dropna()
        if len(values):
            exact = (own["exact"] == True).all()  # noqa: E712
            mark, shift = palette.LABELS[labels], 0.95 if labels == "true" else 1.05
            face = mark.color if exact else "none"
            panels.intervals(axes, {width: mean_interval(values)}, mark, factor=shift, markerfacecolor=face)
    width_axis(axes, widths_of(networks))
    axes.set(title="at the end of training", ylabel="share of negative ones")
    axes.set_ylim(bottom=-0.05 * axes.get_ylim()[1])  # a share is not below 0, as Student's interval may be
