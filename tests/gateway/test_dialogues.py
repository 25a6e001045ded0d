"""The order of replies, events, reads that are made again, and moves: what dialogues/*.txt say."""

from __future__ import annotations

from pathlib import Path

import pytest

from faaskeeper.blocks.aws import BotoAws

from .dialogue import Dialogue, dialogues, play
from .ensemble import run

DIALOGUES = list(dialogues(Path(__file__).with_name("dialogues")))


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda dialogue: f"{dialogue.file.stem}: {dialogue.title}")
def test_dialogue(aws: BotoAws, dialogue: Dialogue) -> None:
    run(play(dialogue, aws))
