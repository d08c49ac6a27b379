"""The Lambda functions (executor, checker, canceller; for batches planner, reporter) and what they share."""

import gc
import os

if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    # A cold start produces no garbage, and searching for it takes a tenth of its time (docs/performance.md).
    # The first invocation turns the collector on again: functions/observability.py.
    gc.disable()
