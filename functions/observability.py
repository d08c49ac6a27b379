"""Logs and metrics of the functions, and the frame that every handler runs in.

Neither SQL nor a task token may come here: log lines carry ids, states, numbers and error names only.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from botocore.exceptions import BotoCoreError, ClientError

from functions.errors import AthenaQueryError, RunAgain, ServiceFault, Throttled
from functions.metric_names import UNITS, Metric

# Service and namespace come from POWERTOOLS_SERVICE_NAME (the stack's name) and POWERTOOLS_METRICS_NAMESPACE.
logger = Logger()
metrics = Metrics()


def measure(metric: Metric, value: float = 1) -> None:
    metrics.add_metric(metric, UNITS[metric], value)


def measure_outcome(error: AthenaQueryError | None) -> None:
    """Count what an execution was told. A start that is retried, or a run that is repeated, is no end."""
    match error:
        case None:
            measure(Metric.SUCCEEDED)
        case RunAgain():
            measure(Metric.RERUNS)
        case Throttled():
            measure(Metric.THROTTLED_STARTS)
        case _:
            measure(Metric(type(error).__name__))
            measure(Metric.FAILURES)


def lambda_handler(handle: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any], Any], Any]:
    """Make a Lambda handler: context in every log line, metrics flushed, faults of AWS under one name.

    ASL names the errors that it retries; botocore's own classes are many, and their texts quote parameters
    (an InvalidToken error quotes the token), so they become ServiceFault.
    """

    @wraps(handle)
    @logger.inject_lambda_context(clear_state=True)
    def handler(event: dict[str, Any], _context: Any) -> Any:
        try:
            return handle(event)
        except ClientError as error:
            fault = f"{error.operation_name}: {error.response['Error']['Code']}"
        except BotoCoreError as error:
            fault = type(error).__name__
        finally:
            if metrics.metric_set:
                metrics.flush_metrics()
        logger.error("AWS call failed", fault=fault)
        raise ServiceFault(fault)

    return handler
