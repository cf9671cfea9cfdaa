"""What kind of critical points training finds: the share of directions in which the loss falls."""

import numpy as np
import pandas as pd

from experiments.local_minima.populations import by_width, width_axis
from experiments.local_minima.sources import OURS, PAPER, REMEMBERED
from memo.commands.evidence import Evidence
from memo.probes.hessian import ZERO, eigenvalues
from memo.reporting import figures
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.report import Figure, number, with_interval
from memo.statistics.intervals import mean_interval

ARMS = ("index_10", "index_25", "index_wider")
PAPERS = (10, 25, 50, 100)  # widths of which the paper has an index


def chapter(evidence: Evidence) -> Chapter:
    """Return the claims and the figure on the index of critical points."""
    made = Chapter()
    networks = pd.concat([by_width(evidence, arm) for arm in ARMS], ignore_index=True)
    known = networks[["trial", "seed", "width", "labels", "final_train_loss", "parameters"]]
    start, end = hessians(evidence)
    end = known.merge(end.drop(columns="seed"), on="trial")
    start = known.merge(start.drop(columns="seed"), on="trial")
    if end.empty:
        return made
    end = end.merge(_gradients(evidence), on="trial", how="left")
    indices = {
        (int(width), labels): (mean_interval(own["index"]), bool(own["exact"].all()))
        for (labels, width), own in end.groupby(["labels", "width"])
    }
    indices = {key: indices[key] for key in sorted(indices, key=lambda key: (key[1] != "true", key[0]))}
    gradients = {
        (width, kind): mean_interval(own["gradient_share"])
        for kind in ("true", "shuffled")
        for width, own in end[end["labels"] == kind].groupby("width")
    }
    _claims(indices, gradients, start, made)
    _draw(evidence, end, start, indices, made)
    for kind in ("true", "shuffled"):
        exact = [
            f"{with_interval(e)} at width {w}" for (w, labels), (e, sure) in indices.items() if labels == kind and sure
        ]
        others = [
            f"{with_interval(e)} at width {w}"
            for (w, labels), (e, sure) in indices.items()
            if labels == kind and not sure
        ]
        if exact:
            made.findings.append(
                f"<b>Index, {kind} labels.</b> The share of Hessian eigenvalues below −0.001 where training ended is "
                f"{', '.join(exact)}{'; estimated, ' + ', '.join(others) if others else ''}."
            )
    made.tables["index"] = end.drop(columns=["eigenvalues", "trial"])
    images = int(networks["dataset.n_train"].iloc[0])
    made.methods.append(
        f"Index: the share of eigenvalues of the Hessian of the mean loss over the {images:,} training images that are below "
        f"−{ZERO:g}; smaller ones count as 0 ({REMEMBERED}). All eigenvalues for networks of up to 3,000 parameters, stochastic "
        "Lanczos quadrature (10 starts of 80 products, full reorthogonalisation) for others; the table index.csv has both where "
        "both were computed. A cosine schedule brings the gradient's norm down before; its share of that at the start has rows "
        "of its own. ReLU's kinks are not in the Hessian."
    )
    return made


def hessians(evidence: Evidence) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of the probe before training, where it was asked along training, and after it."""
    along = evidence.tables["hessian_along"] if "hessian_along" in evidence.tables else pd.DataFrame({"step": []})
    last = along.groupby("trial")["step"].transform("max") if len(along) else along["step"]
    finals = [along[along["step"] == last].drop(columns=["step", "epoch"], errors="ignore")]
    if "hessian" in evidence.tables:
        finals.append(evidence.tables["hessian"])
    return along[along["step"] == 0], pd.concat([part for part in finals if len(part)], ignore_index=True)


def _gradients(evidence):
    """Return by trial the norm of the gradient at the end over that at the start."""
    along = evidence.tables["sharpness_along"].sort_values("step")
    ends = along.groupby("trial")["gradient_norm"].agg(["first", "last"])
    return (ends["last"] / ends["first"]).rename("gradient_share").reset_index()


def _claims(indices, gradients, start, made):
    statement = "The critical points that training finds have next to no directions in which the loss falls."
    for (width, kind), (estimate, sure) in indices.items():
        source = PAPER if kind == "true" and width in PAPERS else OURS
        claim = Claim(
            f"index-{kind}-{width}",
            source,
            statement if kind == "true" else f"{statement} Likewise with shuffled labels.",
            f"share of Hessian eigenvalues below −0.001, {kind} labels",
            (0, 0.02),
            None,
            "spectra",
            "",
            f"width {width}, {'exact' if sure else 'estimated'}",
        )
        made.rows.append((claim, estimate, REMEMBERED))
    for (width, kind), estimate in gradients.items():
        claim = Claim(
            f"gradient-{kind}-{width}",
            OURS,
            "What the index is measured at is near a critical point.",
            f"norm of the gradient of the training loss, end over start, {kind} labels",
            (0, 0.05),
            (0, 0.2),
            "spectra",
            "",
            f"width {width}",
        )
        made.rows.append((claim, estimate, ""))
    for (width, kind), own in start.groupby(["width", "labels"]):
        claim = Claim(
            f"index-start-{kind}-{width}",
            OURS,
            "The index tells a random start from a minimum.",
            f"share of Hessian eigenvalues below −0.001 before training, {kind} labels",
            (0.05, 1),
            (0.02, 1),
            "spectra",
            "",
            f"width {width}",
        )
        made.rows.append((claim, mean_interval(own["index"]), ""))


def _draw(evidence, end, start, indices, made):
    exact = end[end["exact"]]
    widths = sorted(int(width) for width in exact["width"].unique())
    figure, [places] = figures.grid(1, len(widths) + 1, width=3.1, height=2.7)
    edges = np.concatenate([-np.geomspace(10, ZERO, 33), np.geomspace(ZERO, 100, 41)])
    for place, width in zip(places, widths):
        shown = exact[exact["width"] == width]
        kinds = [
            (kind, shown[shown["labels"] == kind], figures.LABELS[kind], f"{kind} labels")
            for kind in ("true", "shuffled")
        ]
        before = start[(start["width"] == width) & (start["labels"] == "true")]
        for _, own, shade, name in [*kinds, ("start", before, "0.5", "before training")]:
            if len(own):
                values = np.concatenate([eigenvalues(row) for row in own["eigenvalues"]])
                counts = np.histogram(values, edges)[0] / len(values)
                place.stairs(np.where(counts > 0, counts, np.nan), edges, color=shade, label=name, linewidth=1.4)
        place.set_xscale("symlog", linthresh=ZERO, linscale=0.5)
        place.set_yscale("log")
        place.set_xticks([-1, -0.01, 0, 0.01, 1, 100], ["−1", "−0.01", "0", "0.01", "1", "100"])
        place.minorticks_off()
        place.set(title=f"width {width}, all eigenvalues", xlabel="eigenvalue of the Hessian", ylabel="share a bin")
    for (width, kind), (estimate, sure) in indices.items():
        figures.interval(
            places[-1],
            width * (0.95 if kind == "true" else 1.05),
            estimate,
            color=figures.LABELS[kind],
            marker=figures.MARKERS[kind],
            markerfacecolor=figures.LABELS[kind] if sure else "none",
            linestyle="",
            label=f"{kind} labels",
        )
    every = sorted(int(width) for width in end["width"].unique())
    width_axis(places[-1], every)
    places[-1].set(title="index of what training found", ylabel="share below −0.001")
    highest = np.nanmax([0.002, *(e.value for e, _ in indices.values()), *(e.high for e, _ in indices.values())])
    places[-1].set_ylim(-0.05 * highest, 1.1 * highest)
    figures.shared_legend(figure, places[0])
    worst = max((estimate.value for estimate, _ in indices.values()), default=np.nan)
    control = (
        f"; before training, at width {int(start['width'].iloc[0])}, it is {with_interval(mean_interval(start['index']))}"
        if len(start)
        else ""
    )
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "spectra"),
            "The second derivatives where training ended",
            f"The share of eigenvalues below −0.001 is {number(worst, 4)} at most, over widths and kinds of labels{control}. "
            "Eigenvalues of all networks of a width together; those within 0.001 of 0, most of them, stand in the bin around 0. "
            "Right: filled markers from all eigenvalues, open ones estimated by Lanczos quadrature.",
            "Histograms of Hessian eigenvalues by width and labels, and the share of negative ones.",
        )
    )
