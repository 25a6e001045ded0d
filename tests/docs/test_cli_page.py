"""docs/cli.md says what the commands say of themselves."""

from scripts import cli_page


def test_the_page_is_made_from_the_commands_of_today() -> None:
    assert cli_page.PAGE.read_text() == cli_page.text(), "make cli-page brings it up to date"
