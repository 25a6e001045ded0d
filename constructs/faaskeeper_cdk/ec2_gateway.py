"""A gateway on an EC2 instance, kept by systemd."""

# jsii gives parameters of a class other names than those of the interface it implements
# pyright: reportArgumentType=false

from __future__ import annotations

from shlex import join

from aws_cdk import Stack
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_s3_assets as assets
from constructs import Construct

from faaskeeper_cdk.access import allow
from faaskeeper_cdk.packages import CLIENT, cache_environment, client_requirements, copied
from faaskeeper_cdk.service import CoordinationService

LISTEN = "127.0.0.1:2181"
UNIT = "faaskeeper-gateway.service"
_ROOT = "/opt/faaskeeper"
_ARCHIVE = f"{_ROOT}/packages.zip"
_UNIT = """\
[Unit]
Description=FaaSKeeper gateway
Wants=network-online.target
After=network-online.target

[Service]
ExecStart={root}/bin/python -m faaskeeper_client.cli gateway --service {service} --region {region} --listen {listen}
Environment=PYTHONPATH={root}/packages{environment}
Restart=always
RestartSec=1
DynamicUser=yes
NoNewPrivileges=yes
ProtectHome=yes
ProtectSystem=strict
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
"""


class Ec2Gateway(Construct):
    """Extends the user data of ``host``, an instance or a group of Amazon Linux 2023, so that a gateway listens at
    ``hosts`` for the programs on it, and gives the host's role ``grant_client`` (of a ``subtree``).

    The packages come from an S3 asset, what they require from the package index that the host's pip is set to.

    User data runs once in the life of an instance, and a new version of the packages is new user data: give an instance
    ``user_data_causes_replacement=True`` and a group an ``update_policy``, or they keep the gateway that they have.

    ``cache_bytes`` of what was read stay in memory to answer from. Raises ValueError if that is negative.
    """

    hosts = LISTEN

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        service: CoordinationService,
        host: ec2.Instance | autoscaling.AutoScalingGroup,
        subtree: str | None = None,
        cache_bytes: int | None = None,
    ) -> None:
        super().__init__(scope, id)
        with copied(*CLIENT) as directory:
            self.packages = assets.Asset(self, "Packages", path=str(directory))
        bucket, key = self.packages.bucket, self.packages.s3_object_key
        allow(host.role, ["s3:GetObject"], [bucket.arn_for_objects(key)])
        service.grant_client(host.role, subtree)

        host.user_data.add_commands("dnf install --assumeyes python3.11", f"python3.11 -m venv {_ROOT}")
        host.user_data.add_s3_download_command(bucket=bucket, bucket_key=key, local_file=_ARCHIVE)
        unit = _UNIT.format(
            root=_ROOT,
            service=service.service_name,
            region=Stack.of(service).region,
            listen=LISTEN,
            environment="".join(f" {name}={value}" for name, value in cache_environment(cache_bytes).items()),
        )
        host.user_data.add_commands(
            f"{_ROOT}/bin/python -m zipfile -e {_ARCHIVE} {_ROOT}/packages",
            join([f"{_ROOT}/bin/pip", "install", *client_requirements()]),
            f"cat > /etc/systemd/system/{UNIT} <<'END'\n{unit}END",
            "systemctl daemon-reload",
            f"systemctl enable --now {UNIT}",
        )
