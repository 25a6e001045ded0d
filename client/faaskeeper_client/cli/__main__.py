"""``python -m faaskeeper_client.cli``."""

import sys

from faaskeeper_client.cli import main

sys.exit(main())
