from __future__ import annotations

from tests.gateway.conftest import aws as aws
