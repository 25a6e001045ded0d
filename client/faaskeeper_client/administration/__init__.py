"""What an operator asks of a service's tables, queues and logs, past its gateways: ``faaskeeper status``, ``sessions``,
``verify``, ``restore`` and ``dead-letters`` show it.

Nothing here prints: functions return values and raise typed errors.
"""
