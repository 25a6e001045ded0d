"""What ``make release`` makes of version and changelog, and what it refuses."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def release() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release", ROOT / "scripts" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_was_unreleased_gets_version_and_date(release: ModuleType) -> None:
    text = "# Changelog\n\n## Unreleased\n\n- A change.\n\n## 0.1.0\n\n- First.\n"
    assert release.released(text, "0.2.0", "2026-12-01") == (
        "# Changelog\n\n## Unreleased\n\n## 0.2.0 (2026-12-01)\n\n- A change.\n\n## 0.1.0\n\n- First.\n"
    )


@pytest.mark.parametrize("text", ["# Changelog\n", "# Changelog\n\n## Unreleased\n\n## 0.1.0\n\n- First.\n"])
def test_a_release_without_a_change_is_refused(release: ModuleType, text: str) -> None:
    with pytest.raises(release.NotReady, match="no entries"):
        release.released(text, "0.2.0", "2026-12-01")


@pytest.mark.parametrize("version", ["", "1", "1.2", "v1.2.3", "1.2.3-4"])
def test_what_is_no_version_is_refused(release: ModuleType, version: str) -> None:
    with pytest.raises(release.NotReady, match="is not MAJOR"):
        release.versioned('__version__ = "0.1.0"\n', version)


def test_the_changelog_in_this_tree_can_be_released(release: ModuleType) -> None:
    assert "## 9.9.9 (2026-12-01)" in release.released((ROOT / "CHANGELOG.md").read_text(), "9.9.9", "2026-12-01")


def test_a_repository_is_versioned_built_and_tagged(tmp_path: Path) -> None:
    for folder in ("lambda_src", "client", "constructs", "scripts"):
        subprocess.run(["cp", "-r", str(ROOT / folder), str(tmp_path)], check=True)
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", ".gitignore"):
        subprocess.run(["cp", str(ROOT / name), str(tmp_path)], check=True)

    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
        command = ["git", *identity, *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    git("init", "--quiet")
    git("config", "user.name", "test")
    git("config", "user.email", "test@localhost")
    git("add", "--all")
    git("commit", "--quiet", "--message", "all")
    program = [sys.executable, "scripts/release.py", "9.9.9"]
    subprocess.run(program, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert git("tag").split() == ["v9.9.9"]
    assert git("status", "--porcelain") == ""
    assert sorted(path.name for path in (tmp_path / "dist").iterdir()) == [
        "faaskeeper-9.9.9-py3-none-any.whl",
        "faaskeeper-9.9.9.tar.gz",
    ]
    again = subprocess.run(program, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert again.returncode == 1
    assert again.stderr == "release: the tag v9.9.9 exists\n"
