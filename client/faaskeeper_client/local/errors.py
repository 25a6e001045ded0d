"""What can go wrong before the embedded cloud serves."""

from __future__ import annotations


class CloudError(Exception):
    """The embedded cloud could not be made, started or deployed to; the message says what to do about it."""
