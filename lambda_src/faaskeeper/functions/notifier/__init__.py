"""The notifier: sends the hints of a large fan-out, so that the sequencer need not."""

from faaskeeper.functions.notifier.function import handler as handler
