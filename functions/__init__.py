"""The Lambda functions of the Athena query step: executor, checker and canceller, and what they share."""

import gc
import os

if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    # A cold start makes no garbage, and the search for it takes a tenth of its time (docs/performance.md).
    # The first invocation turns the collector on again: functions/observability.py.
    gc.disable()
