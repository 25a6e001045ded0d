"""Checks calls against botocore's own description of the services, so that a misspelt parameter cannot pass.

Only the first call of each combination of parameter names is checked: the check takes longer than the call.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.validate import ParamValidator

from faaskeeper.blocks.errors import AwsError

_checked: set[tuple[str, str, frozenset[str]]] = set()


def check(service: str, operation: str, parameters: dict[str, Any]) -> None:
    """Raises AwsError for an operation or parameter that the SDK does not know."""
    shape = (service, operation, frozenset(parameters))
    if shape in _checked:
        return
    operations = _operations(service)
    if operation not in operations:
        raise AwsError(service, operation, "UnknownOperation", "the SDK has no such operation")
    report: Any = ParamValidator().validate(parameters, operations[operation].input_shape)
    if report.has_errors():
        raise AwsError(service, operation, "ParamValidation", report.generate_report())
    _checked.add(shape)


@cache
def _operations(service: str) -> dict[str, Any]:
    model: Any = botocore.session.get_session().get_service_model(service)
    return {xform_name(name): model.operation_model(name) for name in model.operation_names}
