"""The HTTP port of a gateway: ZooKeeper's AdminServer, Prometheus metrics, health, and a console for people.

It takes the extra ``faaskeeper[http]``. Whatever it tells of a gateway it asks of ``gateway_view.GatewayView``.
"""
