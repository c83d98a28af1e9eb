"""One wheel, three import roots, typed."""

from __future__ import annotations

import re
import zipfile
from importlib import metadata

import pytest

from tests.house.tree import REPO, ROOTS, modules, project

PINNED = re.compile(r"[a-z0-9][a-z0-9-]*==[0-9][a-zA-Z0-9.]*")


def requirement_name(requirement):
    return re.split(r"[\[<>=~! ]", requirement)[0]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(REPO))
    return zipfile.ZipFile(next(builder.build(directory=str(tmp_path_factory.mktemp("dist")), versions=["standard"])))


def test_the_wheel_holds_every_module_and_nothing_else(wheel):
    roots = {root: root.parent for root in ROOTS}
    expected = {p.relative_to(parent).as_posix() for r, parent in roots.items() for p in modules() if r in p.parents}
    packed = set(wheel.namelist())
    assert expected <= packed
    assert {f"{root.name}/py.typed" for root in ROOTS} <= packed
    assert {each.split("/")[0] for each in packed if ".dist-info" not in each} == {root.name for root in ROOTS}


def test_the_wheel_carries_its_licence(wheel):
    assert any(each.endswith("licenses/LICENSE") for each in wheel.namelist())


def test_the_installed_version_is_this_one():
    assert metadata.version("pagefault") == project()["project"]["version"]


def test_the_core_needs_no_framework():
    names = {requirement_name(each) for each in project()["project"]["dependencies"]}
    assert not any(re.match(r"lang|llama|rich", each) for each in names)


def test_constraints_are_plain_pins():
    lines = (REPO / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [pin for pin in pins if not PINNED.fullmatch(pin)] == []
    assert pins == sorted(pins)


def test_constraints_pin_every_direct_requirement():
    extras = project()["project"]["optional-dependencies"]
    wanted = [*project()["project"]["dependencies"], *(each for group in extras.values() for each in group)]
    names = {requirement_name(each) for each in wanted} - {"pagefault"}
    pins = {line.split("==")[0] for line in (REPO / "constraints.txt").read_text(encoding="utf-8").splitlines()}
    assert names <= pins
