"""For every tier: what functions/observability.py reads when it is imported, as infra/workflow.py sets it."""

import os

os.environ |= {
    "POWERTOOLS_SERVICE_NAME": "queries",
    "POWERTOOLS_METRICS_NAMESPACE": "AthenaQueries",
    # Otherwise Powertools reads LOG_LEVEL, which the tests of the local Athena set for MiniStack.
    "POWERTOOLS_LOG_LEVEL": "INFO",
}
