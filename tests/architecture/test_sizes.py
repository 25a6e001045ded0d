"""What fits a screen can be read at once."""

from __future__ import annotations

import ast

from .sources import PRODUCT, ROOT, python_files

MAX_FUNCTION_LINES = 70
MAX_FILE_LINES = 400

LEFT = {
    "client/faaskeeper_client/cli/__init__.py: _add_service_commands",
    "client/faaskeeper_client/cli/__init__.py: _add_znode_commands",
    "constructs/faaskeeper_cdk/functions.py: __init__",
    "constructs/faaskeeper_cdk/monitoring.py",
    "constructs/faaskeeper_cdk/monitoring.py: _dashboard",
    "constructs/faaskeeper_cdk/service.py: __init__",
    "lambda_src/faaskeeper/protocol/messages.py",
    "lambda_src/faaskeeper/storage/commit.py",
}
"""Files and functions that are known to be longer: each is to be split, and its line goes."""


def test_no_function_and_no_file_is_too_long_to_be_read_at_once() -> None:
    long: set[str] = set()
    for top in PRODUCT:
        for file in python_files(top):
            text = file.read_text()
            name = str(file.relative_to(ROOT))
            if len(text.splitlines()) > MAX_FILE_LINES:
                long.add(name)
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    assert node.end_lineno is not None
                    if node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES:
                        long.add(f"{name}: {node.name}")
    assert not long - LEFT
