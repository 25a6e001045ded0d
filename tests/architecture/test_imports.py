"""Imports point one way. Those for types alone count too: who names another's class cannot be read without it."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from .sources import PRODUCT, ROOT, python_files

SIMULATOR = "simulator"
CORE = "faaskeeper.znode faaskeeper.protocol faaskeeper.blocks faaskeeper.storage"

MAY_IMPORT = {
    "faaskeeper": "",
    "faaskeeper.znode": "",
    "faaskeeper.blocks": "",
    "faaskeeper.protocol": "faaskeeper faaskeeper.znode faaskeeper.blocks",
    "faaskeeper.storage": "faaskeeper.znode faaskeeper.protocol faaskeeper.blocks",
    "faaskeeper.functions": CORE,
    "faaskeeper_cdk": f"faaskeeper {CORE} faaskeeper.functions",
    "faaskeeper_client": "faaskeeper_client.kazoo_client faaskeeper_client.discovery",
    "faaskeeper_client.addresses": "",
    "faaskeeper_client.prices": "",
    "faaskeeper_client.plotting": "",
    "faaskeeper_client.wire": "faaskeeper.znode",
    "faaskeeper_client.gateway": f"faaskeeper {CORE} faaskeeper_client.wire faaskeeper_client.gateway.defaults",
    "faaskeeper_client.gateway.defaults": "faaskeeper.protocol",
    "faaskeeper_client.discovery": "faaskeeper.protocol faaskeeper.blocks",
    "faaskeeper_client.http": (
        "faaskeeper.znode faaskeeper.storage faaskeeper.blocks "
        "faaskeeper_client.gateway faaskeeper_client.wire faaskeeper_client.addresses faaskeeper_client.prices"
    ),
    "faaskeeper_client.gateway_thread": (
        f"{CORE} faaskeeper_client.gateway faaskeeper_client.gateway.defaults faaskeeper_client.http "
        "faaskeeper_client.addresses"
    ),
    "faaskeeper_client.kazoo_client": (
        "faaskeeper.blocks faaskeeper_client.addresses faaskeeper_client.discovery faaskeeper_client.gateway_thread "
        "faaskeeper_client.gateway.defaults"
    ),
    "faaskeeper_client.administration": f"{CORE} faaskeeper_client.addresses",
    "faaskeeper_client.local": "faaskeeper.protocol faaskeeper_cdk faaskeeper_client.prices",
    "faaskeeper_client.demo": "faaskeeper.blocks faaskeeper_client.gateway_thread faaskeeper_client.local",
    "faaskeeper_client.cli": (
        f"faaskeeper {CORE} faaskeeper_client.addresses faaskeeper_client.administration faaskeeper_client.discovery "
        "faaskeeper_client.gateway_thread faaskeeper_client.http faaskeeper_client.local faaskeeper_client.plotting "
        "faaskeeper_client.prices faaskeeper_client.wire faaskeeper_client.gateway.defaults"
    ),
    "faaskeeper_simulator": "",
    "faaskeeper_simulator.cloud": "faaskeeper.blocks",
}
"""What the files of each package, or a file, may import of others. Of the simulator only the emulated cloud is held
apart: the rest works on the system as a whole."""


def modules() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for top in (*PRODUCT, SIMULATOR):
        for file in python_files(top):
            parts = file.relative_to(ROOT / top).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


MODULES = modules()


@cache
def imported(module: str) -> frozenset[str]:
    """The modules of ours that ``module`` names in an import, wherever in the file it stands."""
    file = MODULES[module]
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            of = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{of}.{alias.name}" for alias in node.names]
        for name in names:
            target = name if name in MODULES else name.rpartition(".")[0]
            if target in MODULES and target != module:
                found.add(target)
    return frozenset(found)


def layer(module: str) -> str:
    """The longest name in ``MAY_IMPORT`` that the module stands under."""
    parts = module.split(".")
    return next(name for end in range(len(parts), 0, -1) if (name := ".".join(parts[:end])) in MAY_IMPORT)


def test_each_layer_imports_only_those_below_it() -> None:
    upwards = {
        f"{module} imports {target}"
        for module in MODULES
        for target in imported(module)
        if layer(module) not in ("faaskeeper_simulator", layer(target))
        and layer(target) not in MAY_IMPORT[layer(module)].split()
    }
    assert not upwards


def test_every_package_has_its_layer() -> None:
    """A new package is not allowed everything by nobody's choice."""
    unplaced = {
        module
        for module in MODULES
        if module.count(".") == 1 and module not in MAY_IMPORT and layer(module) in ("faaskeeper", "faaskeeper_client")
    }
    assert not unplaced


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = {module: imported(module) for module, file in MODULES.items() if SIMULATOR not in file.parts}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise AssertionError(f"a circle of files: {circle}") from None
