"""``faaskeeper gateway --http``: what is wrong with it is said before anything slow begins."""

from __future__ import annotations

import socket

import pytest

from faaskeeper_client.cli import main
from faaskeeper_client.http import options


def test_what_cannot_be_is_said_in_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for arguments, status, words in (
            (["--http-write"], 2, "--http-write, --http-console and --http-host are of --http"),
            (["--http", f"127.0.0.1:{port}"], 1, f"cannot listen on 127.0.0.1:{port}: Address already in use"),
            (["--http", "192.0.2.7:0"], 1, "cannot listen on 192.0.2.7:0"),
        ):
            assert main(["gateway", "--listen", "127.0.0.1:0", *arguments]) == status
            assert words in capsys.readouterr().err
        monkeypatch.setattr(options, "_LIBRARIES", ("aiohttp", "no_such_library"))
        assert main(["gateway", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]) == 1
        assert "needs no_such_library: pip install 'faaskeeper[http]'" in capsys.readouterr().err
