"""Every key that a command line may set, with hundreds of wrong and of odd values: refused in one sentence that names it, or taken."""

import pickle
import random
from dataclasses import fields, is_dataclass

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from memo.cluster import planning
from memo.cluster.settings import Settings
from memo.commands import experiment, hydra_app
from memo.config import Config, make_trials
from memo.errors import Refusal

VALUES = (
    "0 -1 1 2.5 1e39 1e-50 -1e-9 inf -inf nan 99999999999999999999 true null 'text' '' [] [1] [[1]] [null] [a,1] {} {a:1} [1,,2] "
    "ünï ../x /etc/passwd a=b ${x} ${seed} $x 'a\\nb' 1:00 0x10 1_000 +5 --help % @ ! ; [0.5] [-1] [1e99] 'nan'"
).split(" ")
# Texts of a person's own that are what they are, and folders and names that are looked at later.
FREE = (
    "dataset.folder",
    "tracking.to",
    "tracking.project",
    "tracking.uri",
    "partition",
    "account",
    "qos",
    "constraint",
)


def keys(config, prefix=""):
    for key in fields(config):
        if is_dataclass(key.type) and key.name != "experiment":
            yield from keys(key.type, f"{prefix}{key.name}.")
        elif "check" in key.metadata:
            yield prefix + key.name


PARSER = OverridesParser.create()
STRUCTURED = {schema: pickle.dumps(OmegaConf.structured(schema)) for schema in (Config, Settings)}
CASES = [(schema, key) for schema in (Config, Settings) for key in keys(schema)]
KEYS = {key for _, key in CASES}


def admit(schema, override):
    """Do what a command does with one override, before anything is trained."""
    config = pickle.loads(STRUCTURED[schema])
    (parsed,) = PARSER.parse_overrides([override])
    OmegaConf.update(config, parsed.key_or_group, parsed.value())
    if schema is Settings:
        planning.admit(Settings(**OmegaConf.to_container(config)))
    else:
        make_trials(experiment.admitted(config, [override]))


@pytest.mark.parametrize(("schema", "key"), CASES, ids=[key for _, key in CASES])
def test_a_wrong_value_is_one_sentence_that_names_its_key(schema, key):
    refused = 0
    for value in random.Random(key).sample(VALUES, 7):
        try:
            admit(schema, f"{key}={value}")
        except (Refusal, HydraException, OmegaConfBaseException) as error:
            said = hydra_app.explain(error)
            # Or another one that does not go with it, such as the size of a minibatch with the number of images.
            assert key.split(".")[-1] in said or said.split(" is ")[0] in KEYS, (value, said)
            assert len(said.splitlines()) == 1, (value, said)
            assert "Traceback" not in said and "<class" not in said
            refused += 1
    assert refused or key in FREE


def test_a_list_within_a_list_of_names_is_refused():
    with pytest.raises(Refusal, match=r"probes is \[\['confidence'\]\]; allowed is"):
        admit(Config, "probes=[[confidence]]")
