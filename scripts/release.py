"""``make release VERSION=1.2.0``: the version, the changelog's date, wheel and sdist, a commit and its tag.

Nothing leaves this machine: push the commit and the tag, and publish ``dist/``, when you have looked at them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSION_FILE = ROOT / "lambda_src" / "faaskeeper" / "__init__.py"
CHANGELOG = ROOT / "CHANGELOG.md"
_VERSION = re.compile(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?")
_UNRELEASED = re.compile(r"## Unreleased\n(?P<entries>.*?)(?=\n## |\Z)", re.DOTALL)


class NotReady(Exception):
    """The release cannot be made; the message says why."""


def released(changelog: str, version: str, date: str) -> str:
    """``changelog`` with what was unreleased under ``version``. Raises NotReady if there is nothing."""
    if f"## {version} " in changelog:
        raise NotReady(f"CHANGELOG.md has version {version} already")
    found = _UNRELEASED.search(changelog)
    if found is None or not found["entries"].strip():
        raise NotReady('CHANGELOG.md has no entries under "## Unreleased"')
    return changelog.replace("## Unreleased\n", f"## Unreleased\n\n## {version} ({date})\n", 1)


def versioned(source: str, version: str) -> str:
    """``source`` with its ``__version__``. Raises NotReady if ``version`` is none."""
    if not _VERSION.fullmatch(version):
        raise NotReady(f"version {version!r} is not MAJOR.MINOR.PATCH, with a, b or rc and a number behind it if any")
    return re.sub(r'__version__ = ".*"', f'__version__ = "{version}"', source)


def main(arguments: list[str]) -> None:
    version = arguments[0] if arguments else ""
    if _git("status", "--porcelain"):
        raise NotReady("there are uncommitted changes")
    if _git("tag", "--list", f"v{version}"):
        raise NotReady(f"the tag v{version} exists")
    source = versioned(VERSION_FILE.read_text(), version)
    changelog = released(CHANGELOG.read_text(), version, datetime.now(UTC).date().isoformat())
    VERSION_FILE.write_text(source)
    CHANGELOG.write_text(changelog)
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(ROOT / "dist"), str(ROOT)], check=True)
    _git("commit", "--all", "--message", f"Version {version}")
    _git("tag", "--annotate", f"v{version}", "--message", f"Version {version}")
    print(f"Tagged v{version}; dist/ has the wheel and the sdist.")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except NotReady as error:
        sys.exit(f"release: {error}")
