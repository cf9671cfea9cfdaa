import itertools
import pickle

import pytest

from memo.config import Execution
from memo.networks.program import evaluation_steps
from memo.training import population
from memo.training.machine import Machine
from memo.training.population import Layout, lay_out, plan, slabs

SHARED = [
    {"optimizer.learning_rate": 0.2},
    {"optimizer.momentum": 0.5},
    {"optimizer.weight_decay": 1e-4},
    {"labels.kind": "shuffled"},
    {"labels.kind": "random", "labels.fraction": 0.5},
    {"stop_at_train_accuracy": None},
    {"regularization.dropout": 0.2},
    {"seed": 7},
]
SPLITTING = [
    {"dataset.name": "fashion_mnist"},
    {"dataset.n_train": 255},
    {"dataset.n_test": 299},
    {"dataset.n_validation": 10},
    {"inputs.kind": "gaussian"},
    {"model.widths": [9]},
    {"model.activation": "tanh"},
    {"model.init": "glorot"},
    {"loss": "squared_error"},
    {"optimizer.name": "adam"},
    {"optimizer.schedule": "cosine"},
    {"optimizer.decay": 0.9},
    {"batch_size": 32},
    {"epochs": 6},
    {"evaluations": 9},
    {"batch_order": "shared"},
    {"spacing": "epochs"},
    {"spacing": "log_steps"},
    {"model.receptive_field": 7},
    {"regularization.dropout": 0.0},
    {"regularization.input_noise": 0.1},
    {"regularization.noise_images": 0.5},
]


def test_what_may_differ_inside_one_population(trials):
    # Strengths are arrays; which disturbances there are is part of the program.
    (group,) = plan(trials({"regularization.dropout": 0.5}, {}, *SHARED))
    assert [trial.seed for trial in group.trials] == [0] * len(SHARED) + [7]


@pytest.mark.parametrize("settings", SPLITTING, ids=str)
def test_what_splits_a_population(trials, settings):
    groups = plan(trials({"regularization.dropout": 0.5}, {}, settings))
    assert [len(group.trials) for group in groups] == [1, 1]


def test_plan_keeps_every_trial_and_sorts_by_size(trials):
    asked = trials({"seeds": 3}, {"model.widths": [32]}, {"labels.kind": "shuffled"}, {}, {"model.widths": []})
    groups = plan(asked)
    assert [group.signature.static.sizes for group in groups] == [(784, 8, 10), (784, 10), (784, 32, 10)]
    assert sorted(trial.id for group in groups for trial in group.trials) == sorted(trial.id for trial in asked)
    assert [trial.seed for trial in groups[0].trials] == [0, 0, 1, 1, 2, 2]


def test_population_survives_pickling(trials):
    (group,) = plan(trials({"seeds": 2}, {}, {"labels.kind": "shuffled"}))
    again = pickle.loads(pickle.dumps(group))
    assert again == group
    assert [trial.id for trial in again.trials] == [trial.id for trial in group.trials]


MACHINE = Machine("cpu", 2, 10**10)


def test_slabs_hold_every_trial_once_in_a_pack_of_its_seed(trials):
    of_seed = [
        trials({"seed": seed}, *[{"optimizer.learning_rate": 0.1 * (n + 1)} for n in range(4)]) for seed in range(3)
    ]
    for counts in itertools.combinations_with_replacement(range(5), 3):
        asked = [trial for own, count in zip(of_seed, counts) for trial in own[:count]]
        if not asked:
            continue
        (group,) = plan(asked)
        for pack_size, packs in itertools.product((None, 1, 2, 3), (None, 1, 2)):
            layout = lay_out(group, MACHINE, Execution(pack_size=pack_size, packs=packs))
            held = slabs(group, layout)
            assert {slab.shape for slab in held} == {(layout.packs, layout.pack_size)}
            together = [pack[pack >= 0].tolist() for slab in held for pack in slab]
            assert sorted(itertools.chain(*together)) == list(range(len(asked)))
            assert all(len({group.trials[place].seed for place in pack}) <= 1 for pack in together)
            assert layout.pack_size <= (pack_size or 8)
            assert sum(not pack for pack in together) < layout.packs  # no slab is all empty


def test_one_order_for_all_seeds_fills_packs_across_them(trials):
    shared = {"batch_order": "shared", "seeds": 4}
    (group,) = plan(trials(shared))
    (slab,) = slabs(group, lay_out(group, MACHINE, Execution(pack_size=4)))
    assert sorted(slab.ravel()) == [0, 1, 2, 3]
    # Pixels of its own for each seed: nothing to share.
    (group,) = plan(trials(shared | {"inputs.kind": "gaussian"}))
    assert lay_out(group, MACHINE, Execution(pack_size=4)).pack_size == 1


def test_the_slow_come_first_and_stand_together(trials):
    rates = [{"optimizer.learning_rate": rate} for rate in (0.1, 0.01)]
    asked = trials({}, *rates, *[rate | {"labels.kind": "shuffled"} for rate in rates])
    (group,) = plan(asked)
    first, second = slabs(group, Layout(packs=1, pack_size=2, workers=1))
    assert [(t.recipe.labels.kind, t.recipe.optimizer.learning_rate) for t in (group.trials[n] for n in first[0])] == [
        ("shuffled", 0.01),
        ("shuffled", 0.1),
    ]
    assert {group.trials[place].recipe.labels.kind for place in second[0]} == {"true"}


def test_packs_shrink_rather_than_leave_workers_idle(trials):
    (group,) = plan(trials({}, *[{"optimizer.learning_rate": 0.1 * (n + 1)} for n in range(8)]))
    sizes = {cores: lay_out(group, Machine("cpu", cores, 10**10), Execution()).pack_size for cores in (1, 2, 4, 8)}
    assert sizes == {1: 8, 2: 4, 4: 2, 8: 1}


def test_a_gpu_takes_all_packs_that_fit_and_shares_minibatches_up_to_width_512(trials):
    rates = [{"optimizer.learning_rate": 0.1 * (n + 1)} for n in range(8)]
    layouts = {}
    for width in (16, 512, 2048):
        (group,) = plan(trials({"model.widths": [width, width], "seeds": 2}, *rates))
        layouts[width] = lay_out(group, Machine("gpu", 1, 10**11), Execution())
    assert layouts == {16: Layout(2, 8, 1), 512: Layout(2, 8, 1), 2048: Layout(16, 1, 1)}


def test_layouts_stay_within_memory(trials):
    (group,) = plan(trials({"model.widths": [512, 512]}, *[{"seed": seed} for seed in range(40)]))
    one = population.network_bytes(group.signature) + 16 * group.signature.n_train  # its pack's subset and orders
    images = population.images_bytes(group.signature)
    for networks in (1, 3, 17, 40, 1000):
        for platform in ("cpu", "gpu"):
            layout = lay_out(group, Machine(platform, 4, networks * one), Execution())
            assert layout.packs * layout.pack_size * layout.workers <= max(networks, 1)
            assert population.held_bytes(group.signature, layout) <= networks * one + images
    assert lay_out(group, Machine("cpu", 4, 1), Execution()) == Layout(1, 1, 1)  # one network is always tried
    assert lay_out(group, Machine("gpu", 4, 10**12), Execution()) == Layout(10, 1, 4)


def test_operations_of_one_network_by_hand(trials):
    (group,) = population.plan(trials({"model.widths": [16, 16], "epochs": 3, "evaluations": 4, "labels.kind": "true"}))
    weights = 784 * 16 + 16 * 16 + 16 * 10
    # 256 images in batches of 64 are 4 steps an epoch; evaluations lie at steps 0, 1, 3 or 4, ... up to 12.
    steps, points = 12, len(evaluation_steps(4, 12, 4, "log"))
    training = steps * 64 * (6 * weights - 2 * 784 * 16)
    assert population.most_flop(group) == training + points * 2 * weights * (256 + 300)
    double = population.plan(
        [*group.trials, *trials({"model.widths": [16, 16], "epochs": 3, "evaluations": 4, "seed": 1})]
    )
    assert population.most_flop(double[0]) == 2 * population.most_flop(group)


def test_steps_of_little_work_are_taken_by_four_packs_together(trials):
    little = {"model.widths": [16, 16], "batch_size": 10, "optimizer.momentum": 0.0}
    seeds = [{"seed": seed} for seed in range(32)]
    for settings, packs in ((little, 4), (little | {"batch_size": 64}, 1), (little | {"model.widths": [30]}, 1)):
        (group,) = plan(trials(settings, *seeds))
        assert lay_out(group, Machine("cpu", 2, 10**10), Execution()).packs == packs
        assert lay_out(group, Machine("cpu", 2, 10**10), Execution(packs=2)).packs == 2
        assert lay_out(group, Machine("cpu", 2, population.network_bytes(group.signature)), Execution()).packs == 1
