"""An instance on which every program finds ZooKeeper at 127.0.0.1:2181."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from faaskeeper_cdk import CoordinationService, Ec2Gateway, Tier


class Ec2Stack(cdk.Stack):
    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        service = CoordinationService(self, "Coordination", tier=Tier.development(), service_name="on-instances")
        vpc = ec2.Vpc(self, "Vpc", max_azs=1, flow_logs={"All": ec2.FlowLogOptions()})
        self.instance = ec2.Instance(
            self,
            "Instance",
            vpc=vpc,
            instance_type=ec2.InstanceType("t4g.micro"),
            machine_image=ec2.MachineImage.latest_amazon_linux2023(cpu_type=ec2.AmazonLinuxCpuType.ARM_64),
            block_devices=[
                ec2.BlockDevice(device_name="/dev/xvda", volume=ec2.BlockDeviceVolume.ebs(8, encrypted=True))
            ],
            detailed_monitoring=True,
            require_imdsv2=True,
            user_data_causes_replacement=True,
        )
        cdk.Validations.of(self.instance).acknowledge(
            cdk.Acknowledgment(id="AwsSolutions::AwsSolutions-EC29", reason="an example, to be destroyed")
        )
        self.gateway = Ec2Gateway(self, "Gateway", service=service, host=self.instance)
