"""docs/licences.md names what is installed with the package, and its licences."""

from __future__ import annotations

import re
from importlib.metadata import distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .conftest import ROOT

SAYS = re.compile(r"License :: OSI Approved :: (\w+) ")
OTHERWISE = {
    "matplotlib": "PSF-2.0, as matplotlib words it",
    "python-dateutil": "Apache-2.0 or BSD-3-Clause",
}
"""Licences that the metadata do not name; the packages' LICENSE files do."""


def installed(extra: str) -> dict[str, str]:
    """Licence by name of all that ``pip install faaskeeper[extra]`` brings, without faaskeeper itself."""
    found: dict[str, str] = {}
    waiting = [("faaskeeper", extra)]
    while waiting:
        name, wanted = waiting.pop()
        for line in distribution(name).requires or ():
            requirement = Requirement(line)
            each = canonicalize_name(requirement.name)
            if requirement.marker and not requirement.marker.evaluate({"extra": wanted}):
                continue
            if each not in found and each != "faaskeeper":
                found[each] = licence(each)
                waiting.append((each, ""))
    return found


def licence(name: str) -> str:
    if name in OTHERWISE:
        return OTHERWISE[name]
    metadata = distribution(name).metadata
    for field in ("License-Expression", "License"):
        if (text := metadata.get(field, "UNKNOWN")) != "UNKNOWN" and "\n" not in text:
            return text
    (named,) = [said[1] for each in metadata.get_all("Classifier", []) if (said := SAYS.match(each))]
    return named


def test_the_page_lists_what_is_installed() -> None:
    text = (ROOT / "docs" / "licences.md").read_text()
    for heading, extra in (
        ("The client", ""),
        ("The command line", "cli"),
        ("The constructs", "cdk"),
        ("The HTTP port", "http"),
        ("Charts", "plot"),
    ):
        section = text.partition(f"## {heading}")[2].partition("\n## ")[0]
        listed = dict(re.findall(r"^\| ([\w.-]+) \| ([^|]+?) \|$", section, re.MULTILINE))
        listed.pop("package", None)
        assert listed == {
            name: kind for name, kind in installed(extra).items() if extra == "" or name not in installed("")
        }
