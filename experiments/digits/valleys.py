"""'Many possible valleys', and which one is reached depends on the random start."""

import jax
import numpy as np

from experiments.digits.sources import TALK
from memo.commands.evidence import Evidence
from memo.data.randomness import generator
from memo.measures import landscape
from memo.networks.program import as_pixels
from memo.reporting import figures
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.report import Figure, number, with_interval
from memo.statistics.intervals import mean_interval, paired_difference

ARM = "nielsen"
PAIRS = "n counts pairs of networks"


def chapter(evidence: Evidence) -> Chapter:
    """Return the claims and figures on the cost surface."""
    made = Chapter()
    count = evidence.settings["valleys"]["images"]
    shown = as_pixels(jax.numpy.asarray(evidence.dataset.train_images[:count]))
    labels = jax.numpy.asarray(evidence.dataset.train_labels[:count])
    ends, starts = evidence.layers(ARM), evidence.initial_layers(ARM)
    networks = len(evidence.of(ARM))
    pairs = [(first, first + 1) for first in range(0, networks - 1, 2)]
    lines = _lines(evidence.static(ARM), ends, pairs, shown, labels)
    _claims(evidence, lines, starts, ends, pairs, made)
    _draw_lines(evidence, lines, made)
    if networks >= 3:
        _draw_planes(evidence, ends, shown, labels, made)
    made.methods.append(
        f"Cost surfaces: the mean cost over the first {count:,} training images. Straight lines between the final weights of "
        f"{len(pairs)} disjoint pairs of networks with different starts, at 25 points. Barrier: the most by which the cost on "
        "the line exceeds the straight line between its ends (Entezari et al. 2022). Matched: the hidden units of the second "
        "network permuted to fit those of the first (weight matching, Ainsworth et al. 2023), which changes no answer. "
        "Random slices: each unit's incoming weights in a direction have the norm of the network's own (Li et al. 2018)."
    )
    return made


def _one(layers, place):
    return jax.tree.map(lambda leaf: leaf[place], layers)


def _lines(static, layers, pairs, shown, labels):
    """Return costs and accuracies [pairs, points] on the lines, as they are and matched."""
    found: dict[str, list] = {"as they are": [], "matched": []}
    for first, second in pairs:
        a, b = _one(layers, first), _one(layers, second)
        matched = landscape.match(a, b, generator(first, "noise", "matching"))
        for name, end in (("as they are", b), ("matched", matched)):
            found[name].append(landscape.line(static, a, end, shown, labels))
    return {name: tuple(np.stack(values) for values in zip(*rows)) if rows else None for name, rows in found.items()}


def _claims(evidence, lines, starts, ends, pairs, made):
    statement = "There are 'many possible valleys that you might land in', depending on the random start."
    barriers, errors = {}, {}
    for name, found in lines.items():
        if found is None:
            barriers[name] = errors[name] = np.array([])
            continue
        costs, accuracies = found
        barriers[name] = np.array([landscape.barrier(row) for row in costs])
        errors[name] = accuracies[:, [0, -1]].mean(1) - accuracies.min(1)
        condition = name
        for claim, quantity, values, accept, direction in (
            (
                f"barrier-{name.split()[0]}",
                "cost barrier on the straight line between two networks, in multiples of their own cost",
                barriers[name] / costs[:, [0, -1]].mean(1),
                (1, np.inf),
                (0.05, np.inf),
            ),
            (
                f"error-barrier-{name.split()[0]}",
                "training accuracy lost on that line",
                errors[name],
                (0.02, 1),
                (0.001, 1),
            ),
        ):
            claim = Claim(claim, TALK, statement, quantity, accept, direction, "lines", condition=condition)
            made.rows.append((claim, mean_interval(values), PAIRS))
    if not len(barriers["matched"]):
        return
    share = 1 - barriers["matched"] / barriers["as they are"]
    claim = Claim(
        "matching-removes",
        "Entezari et al. 2022",
        "Most of the barrier between networks is due to the order of their hidden units.",
        "share of the barrier that matching removes",
        (0.8, 1),
        (0.001, 1),
        "lines",
    )
    made.rows.append((claim, mean_interval(share), PAIRS))
    flat = {name: _flat(layers) for name, layers in (("start", starts), ("end", ends))}
    distances = {name: np.array([np.linalg.norm(rows[a] - rows[b]) for a, b in pairs]) for name, rows in flat.items()}
    moved = np.array([np.linalg.norm(flat["end"][a] - flat["start"][a]) for a, _ in pairs])
    claim = Claim(
        "valleys-apart",
        TALK,
        statement,
        "distance between two trained networks over how far training moved one",
        (1, np.inf),
        (0.5, np.inf),
        "planes",
    )
    made.rows.append((claim, mean_interval(distances["end"] / moved), PAIRS))
    made.findings.append(
        f"<b>Valleys.</b> On the straight line between two networks from different starts the cost rises by "
        f"{with_interval(mean_interval(barriers['as they are']))} above its ends, and training accuracy falls by "
        f"{with_interval(mean_interval(errors['as they are']), count=False)}; permuting hidden units to match removes "
        f"{with_interval(mean_interval(share), count=False)} of the barrier."
    )


def _flat(layers):
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(layers)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


def _draw_lines(evidence, lines, made):
    if lines["matched"] is None:
        return
    figure, [places] = figures.grid(1, 2, width=3.6, height=2.6)
    colors = {"as they are": "#D55E00", "matched": "#0072B2"}
    for place, part, title in zip(places, (0, 1), ("cost", "training accuracy")):
        for name, found in lines.items():
            at = np.linspace(0, 1, found[part].shape[1])
            place.plot(at, found[part].T, color=colors[name], alpha=0.25, linewidth=0.8)
            place.plot(at, found[part].mean(0), color=colors[name], linewidth=2, label=name)
        place.set(title=title, xlabel="from one network to the other", xlim=(0, 1))
    figures.shared_legend(figure, places[0])
    costs = {name: np.array([landscape.barrier(row) for row in found[0]]) for name, found in lines.items()}
    gap = paired_difference(costs["as they are"], costs["matched"])
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "lines"),
            "Between two valleys",
            f"The straight line between two trained networks leads over a barrier of {number(costs['as they are'].mean())}, and of "
            f"{number(costs['matched'].mean())} when the hidden units are first permuted to match (difference "
            f"{with_interval(gap)}). Were there one valley, and only the order of its units different, matching would remove "
            "all of it. Thin: pairs of networks; thick: means.",
            "Cost and accuracy on the straight line between two networks, as they are and matched.",
        )
    )


def _draw_planes(evidence, ends, shown, labels, made):
    static, points = evidence.static(ARM), evidence.settings["valleys"]["points"]
    seeds = evidence.of(ARM)["seed"].to_numpy()[:3]
    figure, [places] = figures.grid(1, 2, width=4.4, height=3.6)

    a = _one(ends, 0)
    across, up = (landscape.random_direction(generator(0, "noise", part), a) for part in ("plane_across", "plane_up"))
    at = np.linspace(-1, 1, points)
    slice_costs = landscape.plane(static, a, across, up, at, at, shown, labels)
    _contours(figure, places[0], at, at, slice_costs)
    places[0].plot(0, 0, "*", color="#D55E00", markersize=10)
    places[0].set(title="around one network", xlabel="random direction 1", ylabel="random direction 2")

    three = [_one(ends, place) for place in range(3)]
    origin, across, up, corners = landscape.through_three(*three)
    paths = [landscape.project(evidence.trajectory(ARM, int(seed)), origin, across, up) for seed in seeds]
    everything = np.concatenate([corners, *(path for path, _ in paths)])
    low, high = everything.min(0), everything.max(0)
    margin = 0.15 * (high - low)
    alphas, betas = (np.linspace(low[k] - margin[k], high[k] + margin[k], points) for k in range(2))
    costs = landscape.plane(static, origin, across, up, alphas, betas, shown, labels)
    _contours(figure, places[1], alphas, betas, costs)
    for number_, (path, _) in enumerate(paths):
        color = ("#D55E00", "#E69F00", "#CC79A7")[number_]
        places[1].plot(path[:, 0], path[:, 1], "o-", color=color, markersize=3, linewidth=1.2)
        places[1].plot(*corners[number_], "*", color=color, markersize=11, markeredgecolor="white")
    places[1].set(title="through three networks", xlabel="distance", ylabel="distance")
    away = [float(off[0]) for _, off in paths]
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "planes", dense=True),
            "The cost surface in two dimensions",
            f"Left: around one trained network (star) along two random directions; the cost is {number(slice_costs.min())} at "
            f"its lowest and {number(slice_costs.max())} at its highest. Right: the plane through three trained networks (stars) "
            "from different starts, with their descents projected onto it (dots: the start and "
            f"eight later moments; the starts lie {', '.join(number(value) for value in away)} away from the plane, so that the "
            "cost drawn there is not that of the path). Contours: cost on training images, logarithmic shades.",
            "Two slices of the cost surface: around one network and through three, with descents.",
        )
    )


def _contours(figure, place, alphas, betas, costs):
    levels = np.geomspace(max(costs.min(), 1e-3), costs.max(), 14)
    shades = place.contourf(alphas, betas, costs.T, levels=levels, cmap="viridis", norm="log", extend="both")
    place.contour(alphas, betas, costs.T, levels=levels, colors="white", linewidths=0.3)
    place.grid(visible=False)
    bar = figure.colorbar(shades, ax=place, shrink=0.85)
    bar.set_label("cost")
    bar.ax.yaxis.set_major_formatter("{x:.2g}")
