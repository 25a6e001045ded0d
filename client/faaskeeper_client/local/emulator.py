"""The emulator's process. Runs in the emulator's own Python environment, so it imports nothing of ours.

It lives as long as its standard input is open: however its parent ends, the operating system closes the pipe, and
then the emulator saves what it has to save, takes the functions' processes with it and leaves no files behind.
"""

import contextlib
import os
import shutil
import signal
import sys
import threading

GRACE = 15.0
finished = threading.Event()


def watch_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
    if not finished.wait(GRACE):
        os.killpg(0, signal.SIGKILL)


def main() -> None:
    # Ctrl-C in a terminal reaches the whole foreground group: it is the parent that decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch_parent, daemon=True).start()
    sys.argv = ["ministack"]
    try:
        from ministack.app import main as serve  # type: ignore[import-not-found]

        with contextlib.suppress(SystemExit):
            serve()
    finally:
        finished.set()
        shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
