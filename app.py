"""Entry point of the CDK command line; see cdk_app."""

import sys

from aws_cdk import App

from cdk_app.settings import InvalidSettings, Settings
from cdk_app.stacks import add_stacks

app = App()
try:
    add_stacks(app, Settings.from_context(app.node))
except InvalidSettings as error:
    sys.exit(f"faaskeeper: {error}")
app.synth()
