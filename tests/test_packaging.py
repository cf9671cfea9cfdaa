"""What is locked is what pyproject.toml asks for, and the public CI runs .ci/run on every supported Python."""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.builders import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = tomllib.loads((ROOT / "uv.lock").read_text())
LOCKED = {one["name"]: one for one in LOCK["package"]}


def required():
    extras = {None: PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
    return [(extra, Requirement(text)) for extra, each in extras.items() for text in each]


def test_the_lock_is_of_these_requirements():
    """`uv lock` brings it up to date, and keeps the versions that it can keep."""
    own = LOCKED[PROJECT["name"]]["metadata"]["requires-dist"]
    asked = {(one["name"], one.get("marker"), SpecifierSet(one["specifier"])) for one in own}
    assert asked == {(one.name, extra and f"extra == '{extra}'", one.specifier) for extra, one in required()}


@pytest.mark.parametrize(("extra", "requirement"), required(), ids=str)
def test_locked_versions_are_allowed(extra, requirement):
    assert LOCKED[requirement.name]["version"] in requirement.specifier


def test_the_lock_names_the_public_index_only():
    for one in LOCK["package"]:
        if one["name"] != PROJECT["name"]:
            assert one["source"] == {"registry": "https://pypi.org/simple"}
            for file in [*one.get("wheels", []), *([one["sdist"]] if "sdist" in one else [])]:
                assert file["url"].startswith("https://files.pythonhosted.org/")
                assert file["hash"].startswith("sha256:")


def test_the_workflow_runs_what_is_run_here_on_every_supported_python():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    (pythons,) = (step["with"]["python-version"].split() for step in job["steps"] if "with" in step)
    (loop,) = re.findall(r"^for version in (.*); do", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert sorted(pythons) == sorted(loop.split())
    supported = Requirement(f"python{PROJECT['requires-python']}").specifier
    assert [f"3.{minor}" for minor in range(20) if f"3.{minor}" in supported] == loop.split()
