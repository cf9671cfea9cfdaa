"""How far minima of a width lie apart in test loss, what their training loss says of it, and how many are poor."""

from itertools import pairwise

import numpy as np
import pandas as pd

from experiments.local_minima.populations import absent, by_width, color, width_axis
from experiments.local_minima.sources import CORRELATIONS, EQUAL, NOTED, PAPER, TALK
from memo.commands.evidence import Evidence
from memo.reporting import figures
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.report import Figure, number, with_interval
from memo.statistics import over_networks

ARM = "minima"
# A poor minimum: a test loss of more than so many times the lowest of the widths' medians; and an unlucky one of its width.
POOR, UNLUCKY = 1.25, 1.1
UNIT = "n counts networks"


def poor(losses: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Return by width which networks have a test loss above 1.25 times the lowest of the widths' median test losses."""
    best = min(np.median(own) for own in losses.values())
    return {width: own > POOR * best for width, own in losses.items()}


def unlucky(losses: np.ndarray) -> np.ndarray:
    """Return which networks have a test loss above 1.1 times the median of their own width."""
    return losses > UNLUCKY * np.median(losses)


def correlations_along(networks: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Return Pearson's correlation of training and test loss over the networks, by width, step and epoch."""
    rows = []
    of = curves.merge(networks[["trial", "width"]], on="trial")
    for (width, step, epoch), own in of[of["step"] > 0].groupby(["width", "step", "epoch"]):
        if len(own) >= 3:
            value = over_networks.correlation(own[["train_loss", "test_loss"]].to_numpy().T)
            rows.append((width, step, epoch, float(value), len(own)))
    return pd.DataFrame(rows, columns=["width", "step", "epoch", "correlation", "n"])


def chapter(evidence: Evidence) -> Chapter:
    """Return the claims and figures on populations of minima."""
    made = Chapter()
    networks = by_width(evidence, ARM)
    if networks.empty:
        return made
    widths = [int(width) for width in networks["width"].unique()]
    both = {
        width: own[["final_train_loss", "final_test_loss"]].to_numpy().T for width, own in networks.groupby("width")
    }
    test = {width: values[1] for width, values in both.items()}
    notes = {width: absent(evidence, ARM, width) for width in widths}
    sds = {width: over_networks.jackknife(over_networks.sd, test[width]) for width in widths}
    relative = {width: over_networks.jackknife(over_networks.relative_sd, test[width]) for width in widths}
    rho = {width: over_networks.jackknife(over_networks.correlation, both[width], scale="fisher") for width in widths}
    poor_share = {width: over_networks.share(which) for width, which in poor(test).items()}
    unlucky_share = {width: over_networks.share(unlucky(test[width])) for width in widths}

    _spread_claims(test, widths, relative, notes, made)
    _correlation_claims(both, widths, rho, notes, made)
    _poor_claims(test, widths, poor_share, unlucky_share, notes, made)
    along = correlations_along(networks, evidence.tables["curves"])
    _draw_distributions(evidence, test, sds, relative, poor_share, made)
    _draw_correlations(evidence, both, rho, along, made)

    made.tables["minima"] = _table(both, sds, relative, rho, poor_share, unlucky_share)
    made.tables["correlations_along"] = along
    first, last = widths[0], widths[-1]
    made.findings.append(
        f"<b>Quality.</b> Over networks that differ in start and order of minibatches alone, the standard deviation of the test "
        f"loss is {with_interval(sds[first])} at width {first} and {with_interval(sds[last])} at width {last}; relative to the "
        f"mean, {with_interval(relative[first], count=False)} and {with_interval(relative[last], count=False)}."
    )
    made.findings.append(
        f"<b>Training and test loss</b> of minima correlate by {with_interval(rho[first])} at width {first} and by "
        f"{with_interval(rho[last])} at width {last}."
    )
    made.methods.append(
        f"Poor minima: a test loss above {POOR:g} times the lowest of the widths' median test losses; unlucky ones: above "
        f"{UNLUCKY:g} times the median of their own width. Both bounds are ours, fixed before the runs. Standard deviations and "
        "correlations are of a population, its networks resampled; shares have exact binomial intervals. Test loss: "
        "cross-entropy in nats, on the same test images for all networks."
    )
    return made


def _between(which, widths):
    return {f"width {b} against {a}": (which[a], which[b]) for a, b in pairwise(widths)}


def _spread_claims(test, widths, relative, notes, made):
    statement = "The distribution of test losses narrows with width."
    for claim, quantity, statistic in (
        ("sd-falls", "standard deviation of the test loss, over that of the next narrower width", over_networks.sd),
        ("relative-sd-falls", "the same of standard deviation / mean", over_networks.relative_sd),
    ):
        for (a, b), (condition, (narrow, wide)) in zip(pairwise(widths), _between(test, widths).items()):
            estimate = over_networks.jackknife(lambda w, n, of=statistic: of(w) / of(n), wide, narrow)
            one = Claim(f"{claim}-{b}", PAPER, statement, quantity, (0, 0.999), None, "distributions", "", condition)
            made.rows.append((one, estimate, _note(notes[a], notes[b])))
        if len(widths) > 1:
            first, last = widths[0], widths[-1]
            estimate = over_networks.jackknife(lambda n, w, of=statistic: of(n) / of(w), test[first], test[last])
            name = "standard deviation" if statistic is over_networks.sd else "standard deviation / mean"
            text = f"{name} at the narrowest width over that at the widest"
            one = Claim(f"{claim}-ends", PAPER, statement, text, (1.5, np.inf), (1.001, np.inf), "distributions")
            made.rows.append((one, estimate, _note(notes[first], notes[last])))
    for width in widths:
        one = Claim(
            f"equal-quality-{width}",
            TALK,
            EQUAL,
            "standard deviation / mean of the test loss",
            (0, 0.05),
            (0, 0.1),
            "distributions",
            "",
            f"width {width}",
        )
        made.rows.append((one, relative[width], _note(notes[width])))


def _note(*parts):
    return "; ".join(dict.fromkeys(filter(None, (UNIT, *parts))))


def _correlation_claims(both, widths, rho, notes, made):
    statement = "Training and test loss of minima correlate the less, the wider the network."
    for width in widths:
        if width not in CORRELATIONS:
            continue
        due = CORRELATIONS[width]
        claim = Claim(
            f"correlation-{width}",
            PAPER,
            statement,
            f"correlation of training and test loss, due within 0.15 of {due:g}",
            (round(due - 0.15, 4), round(due + 0.15, 4)),
            (0.001, 1),
            "correlations",
            "",
            f"width {width}",
        )
        made.rows.append((claim, rho[width], _note(NOTED, notes[width])))

    def gap(narrow, wide):
        return over_networks.correlation(narrow) - over_networks.correlation(wide)

    for (a, b), (condition, (narrow, wide)) in zip(pairwise(widths), _between(both, widths).items()):
        claim = Claim(
            f"correlation-falls-{b}",
            PAPER,
            statement,
            "correlation at the next narrower width less that at this width",
            (0.001, 2),
            None,
            "correlations",
            "",
            condition,
        )
        made.rows.append((claim, over_networks.jackknife(gap, narrow, wide, scale="linear"), _note(notes[a], notes[b])))
    if len(widths) > 1:
        first, last = widths[0], widths[-1]
        text = "correlation at the narrowest width less that at the widest"
        claim = Claim("correlation-ends", PAPER, statement, text, (0.2, 2), (0.001, 2), "correlations")
        made.rows.append(
            (
                claim,
                over_networks.jackknife(gap, both[first], both[last], scale="linear"),
                _note(notes[first], notes[last]),
            )
        )


def _poor_claims(test, widths, poor_share, unlucky_share, notes, made):
    statement = "Poor minima have a probability that is not zero for small networks, and become rare with width."
    first, last = widths[0], widths[-1]
    for kind, shares, bound in (
        ("poor", poor_share, f"{POOR:g} times the lowest of the widths' medians"),
        ("unlucky", unlucky_share, f"{UNLUCKY:g} times the median of its width"),
    ):
        text = f"share of networks with a test loss above {bound}"
        small = Claim(
            f"{kind}-small", PAPER, statement, text, (0.005, 1), (1e-6, 1), "distributions", "", f"width {first}"
        )
        large = Claim(
            f"{kind}-large", PAPER, statement, text, (0, 0.02), (0, 0.05), "distributions", "", f"width {last}"
        )
        made.rows.append((small, shares[first], _note(notes[first])))
        if last != first:
            made.rows.append((large, shares[last], _note(notes[last])))
    if last != first:
        which = poor(test)
        estimate = over_networks.share_difference(which[first], which[last])
        text = "share of poor minima at the narrowest width less that at the widest"
        claim = Claim("poor-falls", PAPER, statement, text, (0.01, 1), (1e-6, 1), "distributions")
        made.rows.append((claim, estimate, _note(notes[first], notes[last])))


def _table(both, sds, relative, rho, poor_share, unlucky_share):
    rows = []
    for width, (train, test) in both.items():
        row = {"width": width, "n": len(test)}
        for name, values in (("train_loss", train), ("test_loss", test)):
            row |= {f"{name}_mean": values.mean(), f"{name}_median": np.median(values)}
            row |= {f"{name}_min": values.min(), f"{name}_max": values.max()}
        for name, found in (
            ("test_loss_sd", sds),
            ("test_loss_relative_sd", relative),
            ("correlation", rho),
            ("poor", poor_share),
            ("unlucky", unlucky_share),
        ):
            row |= _columns(name, found[width])
        rows.append(row)
    return pd.DataFrame(rows)


def _columns(name, estimate):
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _draw_distributions(evidence, test, sds, relative, poor_share, made):
    figure, [places] = figures.grid(1, 3, width=3.1, height=2.7, width_ratios=[1.6, 1, 1])
    everything = np.concatenate(list(test.values()))
    # What lies far out would flatten all else: it stands in the last bin.
    low, high = everything.min(), np.quantile(everything, 0.995)
    edges = np.linspace(low, high if high > low else low + 1e-6, 61)
    for width, values in test.items():
        places[0].hist(
            np.clip(values, edges[0], edges[-1]),
            bins=edges.tolist(),
            weights=np.full(len(values), 1 / len(values)),
            color=color(width),
            alpha=0.55,
            label=f"width {width}",
        )
    places[0].set(title="test loss of minima", xlabel="test loss (nats)", ylabel="share of a width's networks")
    places[0].locator_params(axis="x", nbins=5)
    figures.legend(places[0])
    widths = list(test)
    for place, found, title in (
        (places[1], sds, "standard deviation"),
        (places[1], relative, "standard deviation / mean"),
    ):
        style = {"marker": "o", "color": "#000000"} if found is sds else {"marker": "s", "color": "#CC79A7"}
        for width in widths:
            figures.interval(place, width, found[width], **style, label=title, linestyle="")
        place.plot(widths, [found[width].value for width in widths], color=style["color"], linewidth=0.8)
    places[1].set(title="spread of the test loss", ylabel="nats, or share of the mean")
    figures.legend(places[1], loc="upper right")
    for width in widths:
        figures.interval(places[2], width, poor_share[width], color=color(width), marker="o", linestyle="")
    places[2].set(title="poor minima", ylabel="share of networks", ylim=(-0.03, 1.03))
    for place in places[1:]:
        width_axis(place, widths)
    places[1].set_ylim(0, 1.45 * max(places[1].get_ylim()[1], 1e-9))
    first, last = widths[0], widths[-1]
    narrow, wide = sds[first], sds[last]
    if np.isfinite([narrow.low, wide.low]).all():
        word = "narrows" if wide.high < narrow.low else "widens" if wide.low > narrow.high else "stays about as wide"
        finding = (
            f"The distribution of test losses {word} from width {first} (standard deviation {with_interval(narrow)}) to width "
            f"{last} ({with_interval(wide)})."
        )
    else:
        finding = "Too few networks for the spread of a distribution."
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "distributions"),
            "Minima by width",
            f"{finding} Right: the share of networks with a test loss above {POOR:g} times the lowest of the widths' medians, "
            f"{with_interval(poor_share[first], count=False)} at width {first}, {with_interval(poor_share[last], count=False)} at "
            f"width {last}. The last bin holds what lies beyond it.",
            "Histograms of the test loss by width, its spread, and the share of poor minima.",
        )
    )


def _draw_correlations(evidence, both, rho, along, made):
    widths = list(both)
    figure, [places] = figures.grid(1, 3, width=3.1, height=2.7)
    for width, (train, test) in both.items():
        scaled = [(values - values.mean()) / (over_networks.sd(values) or 1) for values in (train, test)]
        places[0].plot(*scaled, ".", color=color(width), markersize=3, alpha=0.6, label=f"width {width}")
    places[0].set(
        title="networks, scaled", xlabel="training loss (sd from the mean)", ylabel="test loss (sd from the mean)"
    )
    figures.legend(places[0])
    for width in widths:
        figures.interval(places[1], width, rho[width], color=color(width), marker="o", linestyle="")
        if width in CORRELATIONS:
            places[1].plot(
                width, CORRELATIONS[width], "D", color="black", markerfacecolor="none", label="paper, as noted"
            )
    width_axis(places[1], widths)
    places[1].axhline(0, **figures.CHANCE_LINE)
    places[1].set(title="correlation at the end", ylabel="Pearson's correlation", ylim=(-1.03, 1.03))
    figures.legend(places[1], loc="lower left")
    for width, own in along.groupby("width"):
        places[2].plot(own["epoch"], own["correlation"], "o-", color=color(width), markersize=3, linewidth=1.3)
    places[2].axhline(0, **figures.CHANCE_LINE)
    places[2].set(title="correlation along training", ylabel="Pearson's correlation", ylim=(-1.03, 1.03))
    if len(along):
        figures.epoch_axis(places[2], along["epoch"].max())
    first, last = widths[0], widths[-1]
    noted = [
        f"{number(CORRELATIONS[width])} and ours {with_interval(rho[width], count=False)} at width {width}"
        for width in widths
        if width in CORRELATIONS
    ]
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "correlations"),
            "What training loss says of test loss",
            f"The correlation of training and test loss over networks is {with_interval(rho[first])} at width {first} and "
            f"{with_interval(rho[last])} at width {last}. The paper's numbers, as a third party notes them: {'; '.join(noted)}. "
            "Right: the same along training, colours by width.",
            "Training against test loss of networks, and their correlation by width and along training.",
        )
    )
