"""Packages of the wheel: what pyproject.toml cannot say, for it either finds packages or maps a folder to one."""

from setuptools import find_namespace_packages, find_packages, setup

setup(
    packages=[
        *find_packages(include=["memo*", "experiments*"]),
        *find_namespace_packages(include=["hydra_plugins*"]),
        "memo.conf",
    ],
    package_dir={"memo.conf": "conf"},
)
