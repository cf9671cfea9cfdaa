"""Random labels: exact checks, every statistic against known answers, answers and texts of made-up tables, the command once."""

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.random_labels import capacity, fitting, growth, kernel_fits, regularisers, slowdown, theorem, whitening
from experiments.random_labels.analysis import CHAPTERS, analyse
from experiments.random_labels.networks import read
from memo.commands import arms, experiment
from memo.commands.evidence import Evidence
from memo.config import flatten, make_trials
from memo.data import datasets, treatments
from memo.data.mnist import MNIST
from memo.data.randomness import generator
from memo.measures import expressivity, kernels, nearest_neighbours
from memo.networks import mlp
from memo.networks.losses import LOSSES
from memo.networks.program import as_pixels
from memo.reporting import claims, figures
from memo.reporting.chapter import Text
from memo.reporting.report import as_committed
from memo.statistics import trends
from memo.statistics.intervals import Estimate
from memo.storage.run_folders import Tables
from memo.training.population import signature
from tests import builders, reports
from tests.pages import NO_NUMBER


def compose(*overrides):
    return builders.compose("random_labels", *overrides)


# Exact checks


def test_times_by_number_of_images_count_a_network_once_however_long_its_trials_last():
    def trial(arm, labels, rate, images, seed, t99, redrawn=0.0):
        name = f"{arm} {rate} {images} {seed}"
        return {
            "arm": arm,
            "labels": labels,
            "learning_rate": rate,
            "images": images,
            "seed": seed,
            "t99": t99,
            "redrawn": redrawn,
            "trial": name,
        }

    rows = [trial("growth_true", "true", 0.03, n, seed, n / 1000 + seed) for n in (1000, 4000) for seed in (0, 1)]
    rows += [trial("one_true", "true", 0.03, 4000, seed, 4.0 + seed) for seed in (0, 1, 2)]  # for more epochs
    rows += [trial("one_true", "true", 0.06, 4000, 0, 9.0), trial("one_corrupted", "random", 0.06, 4000, 0, 90.0, 1.0)]
    times = growth.times_of(pd.DataFrame(rows))
    assert times["true"][0.03].loc[[0, 1], 4000].tolist() == [4, 5] and times["true"][0.03].loc[2, 4000] == 6
    assert times["true"][0.06].to_dict() == {4000: {0: 9.0}} and times["random"][0.06].to_dict() == {4000: {0: 90.0}}


@pytest.mark.slow
def test_shuffled_pixels_are_true_labels_for_an_mlp(small_mnist):
    """Renamed pixels with first-layer weights renamed alike give the same training; initial weights have no order."""
    order = generator(0, "inputs").permutation(784)
    images = as_pixels(jnp.asarray(small_mnist.train_images[:128]))
    labels = jnp.asarray(small_mnist.train_labels[:128])
    loss = LOSSES["cross_entropy"]

    def cost(layers, images):
        return jnp.mean(loss.per_example(mlp.apply(layers, images, "relu"), labels))

    @jax.jit
    def step(layers, images):
        return jax.tree.map(lambda leaf, slope: leaf - 0.1 * slope, layers, jax.grad(cost)(layers, images))

    one = mlp.initialise(jax.random.key(0), (784, 16, 10), "he")
    other = (one[0]._replace(weights=one[0].weights[order]), one[1])
    renamed = images[:, order]
    for _ in range(20):
        one, other = step(one, images), step(other, renamed)
    np.testing.assert_allclose(one[0].weights[order], other[0].weights, atol=1e-5)
    np.testing.assert_allclose(cost(one, images), cost(other, renamed), rtol=1e-4)
    train, test = treatments.INPUTS["shuffled_pixels"](
        generator(0, "inputs"),
        small_mnist.train_images,
        small_mnist.test_images,
        treatments.PixelStatistics(*small_mnist.pixel_statistics),
    )
    np.testing.assert_array_equal(train, small_mnist.train_images[:, order])
    np.testing.assert_array_equal(test, small_mnist.test_images[:, order])


@pytest.mark.parametrize("fraction", [0.2, 0.6, 1.0])
def test_nine_tenths_of_redrawn_labels_change(fraction):
    true = np.tile(np.arange(10, dtype=np.uint8), 20_000)
    given = treatments.LABELS["random"](generator(0, "labels"), true, fraction, 10)
    low, high = stats.binom.interval(0.9999, len(true), 0.9 * fraction)
    assert low <= np.sum(given != true) <= high


def test_chance_is_chance(small_mnist):
    """Random labels say nothing about test images, whoever remembers them."""
    labels = generator(0, "labels").integers(0, 10, len(small_mnist.train_labels)).astype(np.uint8)
    called = nearest_neighbours.classify(small_mnist.test_images, small_mnist.train_images, labels)
    low, high = stats.binom.interval(0.9999, len(called), 0.1)
    assert low <= np.sum(called == small_mnist.test_labels) <= high


# Statistics


def test_boundary_is_interpolated_between_widths_on_a_log_axis():
    accuracy = pd.DataFrame({4: [0.5, 1.0, 0.2], 8: [0.98, 1.0, 0.3], 16: [1.0, 1.0, 0.9]})
    found = capacity.boundary(accuracy)
    assert found.tolist() == pytest.approx([8 * 2**0.5, 4, np.nan], nan_ok=True)
    # A diverged network below the boundary: the first width that is known to suffice.
    assert capacity.boundary(pd.DataFrame({4: [np.nan], 8: [1.0]})).tolist() == pytest.approx([8])


def test_parameters_grow_with_labels_as_a_power():
    assert capacity.parameters(np.array([1, 512]), MNIST).tolist() == [
        mlp.count_parameters((784, w, 10)) for w in (1, 512)
    ]
    counts = np.array([500, 1000, 4000])
    widths = (3.0 * counts - 10) / 795  # three parameters a label
    seeds = pd.DataFrame([widths, np.where(counts > 500, widths, np.nan)], columns=counts)
    slope = trends.log_slope(capacity.parameters(seeds, MNIST))
    assert slope.tolist() == pytest.approx([1, np.nan], nan_ok=True)


def test_the_largest_fit_has_no_failure_before_it():
    residuals = pd.DataFrame(
        [(s, n, r) for s, row in enumerate([(1e-9, 1e-3, 1e-9), (1e-9, 1e-8, 1e-7), (np.inf, 1e-9, 1e-9)])
         for n, r in zip((10, 20, 30), row)],
        columns=["seed", "n", "residual"],
    )  # fmt: skip
    assert theorem.largest_n(residuals).tolist() == [10, 30, 0]


def test_a_network_that_cannot_be_built_counts_as_one_that_answers_nothing():
    residuals = pd.DataFrame({"seed": [0, 0, 1, 1], "residual": [1e-8, 1e-6, 1e-8, np.inf]})
    estimate, note = theorem.worst(residuals)
    assert estimate.value == pytest.approx(1e-3)
    assert note.startswith("1 of 2 draws lack a network")
    assert theorem.worst(residuals[residuals["seed"] == 0])[1] == ""


def networks_of(**columns):
    """Return networks of one hidden layer, one per entry of the columns, by default on random labels that are all fitted."""
    frame = pd.DataFrame({"arm": "one_corrupted", "width": 512, "redrawn": 1.0, "labels": "random"} | columns)
    return frame if "final_train_accuracy" in frame else frame.assign(final_train_accuracy=1.0)


def test_wide_networks_that_diverge_do_not_fit():
    some = networks_of(width=[128, 512, 512, 64, 512], final_train_accuracy=[0.994, 0.99, np.nan, 1.0, 1.0])
    assert fitting.fitted(some, 1.0)[0][:4:3] == (0.5, 4)
    assert fitting.fitted(some[some["width"] == 64], 1.0)[0] is None
    assert fitting.fitted(some, 0.0)[0] is None


def test_a_regulariser_is_judged_when_labels_could_have_been_fitted():
    plain = networks_of(arm="one_plain", seed=range(5), t99=[60.0, 70, 65, 62, 80], epochs=100.0, status="memorised")
    short = networks_of(arm="one_decay", seed=range(5), epochs=239.0, final_train_accuracy=0.9, status="completed")
    whole = pd.concat([plain, short.assign(epochs=240.0)], ignore_index=True)
    assert regularisers.memorises(whole, 1, "weight decay")[0].value == pytest.approx(0.9)
    for lacking in (pd.concat([plain, short]), whole.assign(t99=whole["t99"].where(whole["seed"] > 0))):
        estimate, note = regularisers.memorises(lacking.reset_index(drop=True), 1, "weight decay")
        assert estimate is None and "3 times as long" in note
    # One that has fitted every label needs no more time.
    fitted = pd.concat([plain, short.assign(epochs=50.0, final_train_accuracy=1.0)], ignore_index=True)
    assert regularisers.memorises(fitted, 1, "weight decay")[0].value == 1


def test_data_sets_differ_by_as_much_as_either_has_more():
    arms = {"cifar_unit": 0.2, "literal": 0.3}
    frame = pd.concat(
        networks_of(
            arm=arm, layers=1, seed=range(5), status="completed", final_train_accuracy=value + 0.01 * np.arange(5)
        )
        for arm, value in arms.items()
    )
    found, note = whitening.between_data(frame.reset_index(drop=True), "unit")
    assert found.value == pytest.approx(0.1) and note == "more on MNIST"


def test_where_all_labels_are_fitted_the_share_of_networks_is_told():
    accuracies = {1: [0.99, 0.991, 0.992, 0.993, 0.994, 0.995], 3: [1, 1, 1, 1, 1, 0.998]}
    frame = pd.concat(
        networks_of(
            arm=whitening.CIFAR["arm"],
            layers=layers,
            labels=labels,
            seed=range(6),
            status="completed",
            epochs=90.0,
            t90=40.0,
            final_train_accuracy=own,
            final_test_accuracy=0.5,
        )
        for layers, own in accuracies.items()
        for labels in whitening.KINDS
    ).reset_index(drop=True)
    given = {}
    whitening._answer_paper(frame, given.__setitem__)
    told = {name.removesuffix("-{cifar_images}"): found for name, (found, _) in given.items() if found is not None}
    assert told["table1-train-1-random"][:4] == pytest.approx(whitening.bounded(accuracies[1])[:4])
    # All six fit 99.5 % of the labels, five of them 99.9 %: intervals of Clopper and Pearson.
    assert told["table1-train-3-true"][:4] == pytest.approx((1, 0.025 ** (1 / 6), 1, 6))
    assert told["Z1-cifar-3"][:4] == pytest.approx((5 / 6, 0.3588, 0.9958, 6), abs=1e-4)
    assert not {"table1-decay-train-3", "table4-decay-train-3"} & told.keys()


def test_levels_rise_where_paired_steps_do():
    noise = np.random.default_rng(0).normal(0, 0.1, (5, 4))
    times = np.array([5.0, 15, 25, 25]) + noise
    long = [(seed, p, times[seed, k]) for seed in range(5) for k, p in enumerate((0, 0.2, 0.6, 1))]
    frame = pd.DataFrame(long, columns=["seed", "redrawn", "t99"]).assign(arm="one_corrupted")
    assert slowdown.rising(frame) == [0.2, 0.6]
    assert slowdown.rising(frame[frame["seed"] == 0]) == []


def test_factors_are_of_seeds_that_get_there():
    rows = [("true", 32, 4.0), ("random", 32, np.nan), ("true", 64, 2.0), ("random", 64, 8.0), ("random", 128, 1.0)]
    frame = pd.DataFrame(rows, columns=["labels", "width", "t99"]).assign(seed=0)
    factors = slowdown.factors_of(frame)
    assert factors[32] is None
    assert factors[64].value == pytest.approx(4)
    assert set(factors) == {32, 64}


def test_theorem_1_on_digits(small_mnist):
    found = theorem.solve(small_mnist, [20, 50], 2)
    wide = found[found["dtype"] == "float64"]
    assert len(found) == 2 * 2 * 2 * 2
    assert (wide["residual"] < 1e-9).all()


@pytest.mark.slow
def test_kernel_fits_of_true_and_random_labels(small_mnist):
    sizes = {"counts": [60, 800], "ridges": [0.01], "held_out": 200, "scan": 100, "bandwidths": [4.0, 30.0]}
    rows = kernel_fits.fit(small_mnist, sizes, 0, 5.0, np.dtype("float64"))
    assert rows["residual"].max() < 1e-6
    assert (rows["kernel"] < 0.6).all()
    assert ((rows["kernel_random"] > 0.8) & (rows["kernel_random"] < 1)).all()
    assert rows["linear_train_random"].iloc[0] == 0  # fewer images than pixels
    assert rows["linear_train_random"].iloc[1] > 0
    assert (rows["norm_random"] > rows["norm"]).all()
    chosen, held, _ = kernel_fits.drawn(small_mnist, 0, 60, 200)
    images = kernel_fits.as_floats(small_mnist.train_images[chosen], np.dtype("float64"))
    exact = kernels.interpolate(images, kernels.one_hot(small_mnist.train_labels[chosen], float, 10), 5.0)
    assert rows["norm"].iloc[0] == pytest.approx(exact.norm)
    assert not (held[:, None] == small_mnist.train_images[chosen][None]).all(-1).any()
    scanned = kernel_fits.scan(small_mnist, sizes, np.dtype("float64"))
    assert scanned["bandwidth"].tolist() == [4, 30]
    with_test = kernel_fits.drawn(small_mnist, 0, 2000, 200)[1]  # nothing is left to hold out
    assert with_test is small_mnist.test_images


# The recipes


def test_arms_are_the_papers():
    built = arms.arms(compose("scale=paper"))
    one, three, literal = (built[name] for name in ("one_true", "three_true", "literal"))
    assert (one[0].model.widths, three[0].model.widths) == ([512], [512] * 3)
    sizes = {c.dataset.name: signature(make_trials(c)[0]).static.sizes for c in built["cifar_literal"]}
    assert mlp.count_parameters(sizes["cifar10"]) == 1_735_178  # of the paper's table 1
    assert [c.labels.fraction for c in built["one_corrupted"]] == [0.2, 0.4, 0.6, 0.8, 1.0]
    for config in (*literal, *built["whitened"], *built["cifar_literal"], *built["cifar_unit"]):
        assert (config.optimizer.learning_rate, config.optimizer.decay, config.optimizer.momentum) == (0.01, 0.95, 0.9)
    # Z3: one rate for all levels, no decay.
    rates = {c.optimizer.learning_rate for name in ("one_true", "one_corrupted") for c in built[name]}
    assert len(rates) == 1
    assert {c.optimizer.schedule for name in ("one_true", "one_corrupted") for c in built[name]} == {"constant"}
    cells = {
        c.dataset.n_train: c.epochs * (c.dataset.n_train // c.batch_size) for n in built if "map" in n for c in built[n]
    }
    assert max(cells.values()) / min(cells.values()) < 1.01


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["standard", "paper"])
def test_the_papers_decay_by_steps_is_0_95_every_390(scale):
    [config] = arms.arms(compose(f"scale={scale}"))["literal_steps"]
    steps = float(signature(make_trials(config)[0]).static.steps_per_epoch)
    assert config.optimizer.decay == pytest.approx(0.95 ** (steps / 390), abs=1e-4)


def test_every_network_of_the_map_has_more_weights_than_theorem_1():
    built = arms.arms(compose())
    for config in (one for name in built if "map" in name for one in built[name]):
        least = expressivity.count_weights(config.dataset.n_train, MNIST.pixels)
        assert capacity.parameters(np.array(config.model.widths), MNIST)[0] > least


# The report


LAST = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")


def make_tables(config, slow=3.0):
    """Return tables as training would give them: an epoch for a tenth of true labels, `slow` times that for random ones."""
    trials, curves = [], []
    members = experiment.members(config)
    seen = set()
    for each in arms.arms(config).values():
        for one in each:
            for trial in make_trials(one):
                if trial.id in seen:
                    continue
                seen.add(trial.id)
                recipe, common = trial.recipe, signature(trial)
                random = recipe.labels.fraction if recipe.labels.kind == "random" else 0.0
                draw = np.random.default_rng([trial.seed, round(10 * random)])  # steps differ between seeds
                end = 2 * (1 + (slow - 1) * random) * (1 + 0.1 * draw.random())
                steps = common.evaluation_steps
                epochs = steps / float(common.static.steps_per_epoch)
                share = np.minimum(epochs / end, 1)
                ends = (share >= 1).any() and recipe.stop_at_train_accuracy is not None
                last = int(np.argmax(share >= 1)) + 1 if ends else len(share)
                accuracy, test = 0.1 + 0.9 * share, 0.1 + 0.8 * (1 - random) * share + 0.002 * draw.random()
                loss = np.maximum(2.3 * (1 - share), 0.05)
                curves.append(
                    pd.DataFrame(
                        {
                            "trial": trial.id, "seed": trial.seed, "step": steps, "epoch": epochs, "train_loss": loss,
                            "train_accuracy": accuracy, "test_loss": 2.3 - 2 * test, "test_accuracy": test,
                            "validation_accuracy": test if recipe.dataset.n_validation else np.nan,
                        }
                    )[:last]
                )  # fmt: skip
                trials.append(
                    {
                        "trial": trial.id, "seed": trial.seed, **flatten(recipe), "labels.changed": 0.9 * random,
                        "parameters": mlp.count_parameters(common.static.sizes),
                        "status": "memorised" if share[last - 1] >= 1 else "completed",
                        **{f"final_{name}": curves[-1][name].iloc[-1] for name in LAST},
                    }
                )  # fmt: skip
    return Tables(trials=pd.DataFrame(trials), curves=pd.concat(curves, ignore_index=True), arms=members)


@pytest.fixture(scope="module")
def small():
    """The experiment at its smallest, with five seeds, which verdicts need, and widths that are expected to memorise."""
    config = compose(
        "scale=quick",
        "seeds=5",
        "experiment.arms.one_true.epochs=40",
        "experiment.arms.one_true.model.widths=[128]",
        "experiment.arms.three_true.model.widths=[128,128,128]",
    )
    own = config.experiment.settings | {"expressivity": {"counts": [20, 40], "seeds": 5}}
    own["kernels"] = own["kernels"] | {"counts": [50], "scan": 50, "held_out": 50, "bandwidths": [5], "seeds": 5}
    return replace(config, experiment=replace(config.experiment, settings=own))


@pytest.fixture(scope="module")
def made_up(small):
    return make_tables(small)


@pytest.fixture(scope="module")
def evidence_of(small, made_up, small_mnist, tmp_path_factory):
    """Return `evidence_of(change)`, what chapters read of made-up tables after `change(tables)`, with few images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "load", lambda name, folder=None: small_mnist)
        patch.setattr(Evidence, "test_images", lambda self, arm: (small_mnist.test_images, small_mnist.test_labels))

        def make(change=lambda tables: None):
            tables = Tables({name: frame.copy() for name, frame in made_up.items()})
            change(tables)
            return Evidence(tables, small, tmp_path_factory.mktemp("drawn"))

        yield make


@pytest.fixture(scope="module")
def measured(evidence_of):
    """What needs no training, measured once; the table of networks is that of networks that behave."""
    return as_committed(analyse.measure(evidence_of()))


def ledger_of(tables):
    return analyse.answers(tables).ledger("standard").set_index("claim")


def changed(measured, evidence):
    """Return the committed tables with the networks of other evidence."""
    base = evidence.networks.merge(fitting.measure(evidence)["networks"], on=["trial", "arm", "seed"])
    return Tables({**measured, **as_committed({"networks": base})})


def test_answers_of_networks_that_behave(measured):
    ledger = ledger_of(measured)
    assert ledger.loc["Z1-fits", ["measured", "n", "verdict"]].tolist() == [1, 10, claims.REPRODUCED]
    assert ledger.loc["Z3-factor-t99-1", "measured"] == pytest.approx(3, rel=0.1)
    assert ledger.loc["Z3-factor-t99-1", "verdict"] == claims.REPRODUCED
    # Evaluations lie further apart than the times of neighbouring levels.
    assert ledger.loc["Z3-monotone-t99", "verdict"] == claims.UNDECIDED
    assert re.search(r"Page's test .*p (= 0\.0|< 1e-6)", ledger.loc["Z3-monotone-t99", "note"])
    assert ledger.loc["Z4-t99-gaussian", "measured"] == pytest.approx(3, rel=0.1)
    assert ledger.loc["Z4-quickly-1", "measured"] == pytest.approx(0.25, rel=0.1)  # straight lines
    assert ledger.loc["Z2-rises", "verdict"] == claims.REPRODUCED
    assert ledger.loc["sanity-shuffled-error", "verdict"] == claims.CONTROL
    assert ledger.loc["Z6-fits-middle", "verdict"] == claims.REPRODUCED
    assert ledger.loc["early-stopping-1", "measured"] == pytest.approx(1)
    # The same networks on both data sets, whitened or not; softmax regression fits as they do.
    assert ledger.loc[["whitening-mnist", "data-unit"], "measured"].tolist() == pytest.approx([0, 0], abs=1e-6)
    assert ledger.loc["linear-baseline", "measured"] == 1
    for claim in (
        "Z2-begins-60000",
        "Z7-error-60000",
        "table1-test-3-true-50000",
        "Z3-exponent-60000",
        "capacity-slope",
    ):
        assert ledger.loc[claim, "verdict"] == claims.NOT_YET_MEASURED


def test_a_run_on_all_images_answers_what_others_leave_open(measured):
    tables = Tables({name: frame.copy() for name, frame in measured.items()})
    networks, fits = tables["networks"], tables["kernels"]
    networks.loc[networks["arm"].isin(["one_true", "one_corrupted"]), "images"] = MNIST.train_images
    fits["n"] = MNIST.train_images
    ledger = ledger_of(tables)
    assert (ledger.loc[["Z2-begins-60000", "Z7-error-60000"], "images"] == MNIST.train_images).all()
    assert ledger.loc[["Z2-begins-60000", "Z7-error-60000"], "measured"].notna().all()


def one_diverged(tables):
    trials = tables.trials
    deep = trials["model.widths"].map(len) == 3
    lost = deep & (trials["seed"] == 0) & (trials["labels.kind"] == "random")
    builders.diverge(tables, trials.loc[lost, "trial"])


def all_diverged(tables):
    builders.diverge(tables, tables.trials["trial"])


def stall(tables, stalled):
    """Leave the learning of some trials at chance."""
    curves, trials = tables.curves, tables.trials
    own, ends = curves["trial"].isin(stalled), trials["trial"].isin(stalled)
    for part in ("train", "test"):
        curves.loc[own, f"{part}_accuracy"] = 0.1 + 0.01 * curves.loc[own, "seed"]
        trials.loc[ends, f"final_{part}_accuracy"] = 0.1 + 0.01 * trials.loc[ends, "seed"]
    curves.loc[own, "train_loss"] = 2.3


def random_labels_stall(tables):
    stall(tables, tables.trials.loc[tables.trials["labels.kind"] == "random", "trial"])


def nothing_learned(tables):
    stall(tables, tables.trials["trial"])


@pytest.mark.slow
def test_answers_of_poor_runs(measured, evidence_of):
    ledger = ledger_of(changed(measured, evidence_of(one_diverged)))
    assert ledger.loc["Z1-chance-3", "n"] == 4
    assert "1 with a diverged network" in ledger.loc["Z1-chance-3", "note"]
    assert "1 of 5 pairs have a diverged network" in ledger.loc["Z3-factor-t99-3", "note"]
    ledger = ledger_of(changed(measured, evidence_of(all_diverged)))
    assert ledger.loc["Z1-fits", "measured"] == 0
    assert (ledger.loc[["Z1-chance-1", "Z3-factor-t99-1"], "verdict"] == claims.NOT_APPLICABLE).all()
    ledger = ledger_of(changed(measured, evidence_of(random_labels_stall)))
    assert ledger.loc["Z3-factor-t99-1", "high"] == np.inf
    assert "a lower bound: 5 of 5" in ledger.loc["Z3-factor-t99-1", "note"]
    assert ledger.loc["Z1-fits", "verdict"] == claims.NOT_REPRODUCED
    assert ledger.loc["Z1-chance-1", "note"] == "not every network fitted its random labels"
    ledger = ledger_of(changed(measured, evidence_of(nothing_learned)))
    assert ledger.loc["Z3-factor-t99-1", "verdict"] == claims.NOT_APPLICABLE


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [lambda tables: None, one_diverged, all_diverged, random_labels_stall, nothing_learned]
)
def test_every_text_is_said_of_any_run(change, measured, evidence_of, monkeypatch):
    monkeypatch.setattr(figures, "save", lambda figure, folder, name, **options: f"figures/{name}.svg")
    evidence = evidence_of(change)
    tables = changed(measured, evidence)
    answers = analyse.answers(tables)
    chapters = [chapter.draw(evidence, tables, answers) for chapter in CHAPTERS]
    front = analyse.front(evidence, tables, answers)
    said = [*front.methods, *front.not_shown]
    for made in chapters:
        said += [*made.findings, *made.methods, *(f"{each.title} {each.caption}" for each in made.figures)]
        said += [cell for shown in made.shown for cell in shown.frame.astype(str).to_numpy().ravel()]
    assert not re.search(NO_NUMBER, " ".join(said))
    for made in chapters:  # tables may have cells without a number
        assert "n/a" not in " ".join([*made.findings, *(each.caption for each in made.figures)])
    assert read(tables)["trial"].isin(evidence.tables.trials["trial"]).all()
    assert plt.get_fignums() == []
    assert len(analyse._in_short(tables, answers, answers.ledger("standard"))) == 2


ABOVE, BELOW, BOTH = Estimate(0.9, 0.8, 1.0, 5), Estimate(-0.2, -0.3, -0.1, 5), Estimate(0.1, -0.2, 0.4, 5)
HALF, SMALL, LARGE = Estimate(0.5, 0.3, 0.7, 5), Estimate(1e-8, 1e-9, 1e-7, 5), Estimate(1e-3, 1e-4, 1e-2, 5)


@pytest.mark.parametrize(
    ("chapter", "block", "found", "said"),
    [
        ("fitting", "schedule", {"literal": {"Z1-literal-1": None, "Z1-literal-steps-1": None}}, "is not known"),
        (
            "fitting",
            "schedule",
            {"literal": {"Z1-literal-1": None, "Z1-literal-steps-1": ABOVE}},
            "decaying by steps, a",
        ),
        ("corruption", "finding", {"step": None, "nearest": None}, "is not known"),
        ("corruption", "finding", {"step": BELOW, "nearest": None}, "falls at some level"),
        ("corruption", "finding", {"step": ABOVE, "nearest": BOTH}, "the difference in test error is 0.100"),
        ("corruption", "finding", {"step": ABOVE, "nearest": BELOW}, "still better than the 1-nearest-neighbour"),
        ("slowdown", "longer", {"rising": [], "levels": []}, "levels of corruption differ is not known"),
        (
            "slowdown",
            "longer",
            {"rising": [], "levels": ["0.5", "1"]},
            "No level of corruption takes detectably longer",
        ),
        ("slowdown", "longer", {"rising": ["1"], "levels": ["0.5", "1"]}, "only p = 1 takes detectably longer"),
        ("slowdown", "longer", {"rising": ["0.5"], "levels": ["0.5", "1"]}, "detectably longer up to p = 0.5"),
        ("regularisers", "finding", {"fits": None}, "is not known"),
        ("regularisers", "finding", {"fits": ABOVE}, "Dropout does not prevent memorisation"),
        ("regularisers", "finding", {"fits": BELOW}, "Dropout prevents memorisation"),
        ("regularisers", "finding", {"fits": HALF}, "may or may not prevent"),
        ("regularisers", "decay", {"decayed": {1: None, 3: ABOVE}}, "a network with three hidden layers fits 90 %"),
        ("theorem", "finding", {"residual": {"three-quarters": SMALL, "middle": LARGE}}, "biases determines how many"),
        ("theorem", "finding", {"residual": {"three-quarters": LARGE, "middle": LARGE}}, "does not detectably change"),
        ("kernel_fits", "finding", {"error": {"kernel": ABOVE}, "gain": None}, "A Gaussian kernel"),
        ("kernel_fits", "finding", {"error": {"kernel": BOTH}, "gain": BELOW}, "makes that worse"),
    ],
)
def test_words_are_those_of_the_intervals(chapter, block, found, said):
    """And what was not measured is said to be unknown."""
    facts = {"images": 500, "most": 500, "strength": 0.1, "middle": 0.6, "fitted": True, "needless": None}
    facts |= {"ends": [None, None], "factor": {1: None, 3: None}}
    text = Text("experiments.random_labels", chapter).block(block, **facts | found)
    assert said in text and text.endswith(".") and "n/a" not in text and ".." not in text


@pytest.mark.parametrize(
    ("rises", "said"), [(ABOVE, "the higher the test error"), (BOTH, "do not always"), (None, "is not known")]
)
def test_the_short_answer_is_that_of_the_interval(rises, said):
    answers = {"Z2-rises": rises, "Z2-fits": ABOVE}
    assert said in Text("experiments.random_labels", "in_short").block("error_rises", answers=answers)


@pytest.mark.slow
def test_the_command(tmp_path):
    folder = tmp_path / "random_labels"
    done = builders.python("-m", "experiments.random_labels", "scale=quick", f"hydra.run.dir={folder}", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert reports.check(folder, "random_labels").numbers > 20
