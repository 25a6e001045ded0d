"""The product's source files."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = ("lambda_src", "client", "constructs")


def python_files(top: str) -> list[Path]:
    return sorted(file for file in (ROOT / top).rglob("*.py") if "__pycache__" not in file.parts)
