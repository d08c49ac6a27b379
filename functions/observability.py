"""Logs and metrics of the functions, and the wrapper that every handler runs in.

Neither SQL nor a task token may be passed to it: log lines carry ids, states, numbers, error names
and labels only.
"""

import gc
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from botocore.exceptions import BotoCoreError, ClientError

from functions.errors import AthenaQueryError, InternalFault, RunAgain, ServiceFault, Throttled
from functions.metric_names import UNITS, Metric
from functions.settings import InvalidSetting
from functions.time_budget import time_budget

# Service and namespace come from POWERTOOLS_SERVICE_NAME (the stack's name) and POWERTOOLS_METRICS_NAMESPACE.
logger = Logger()
metrics = Metrics()


def measure(metric: Metric, value: float = 1) -> None:
    metrics.add_metric(metric, UNITS[metric], value)


def measure_outcome(error: AthenaQueryError | None) -> None:
    """Count the outcome of an execution. A throttled start and a rerun are not outcomes."""
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


def label_list(labels: Mapping[str, str]) -> list[str]:
    """`labels` as `key=value`: a list, which Logs Insights can unnest without knowing the keys."""
    return [f"{key}={value}" for key, value in labels.items()]


def lambda_handler(handle: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any], Any], Any]:
    """Make a Lambda handler: context in every log line, metrics flushed, each fault under one of two names.

    ASL names the errors that it retries; botocore's own classes are many, and their texts quote parameters
    (an InvalidToken error quotes the token), so they become ServiceFault. Anything else is a defect of ours,
    whose text may quote the SQL: InternalFault carries its class and its place only.
    """

    @wraps(handle)
    @logger.inject_lambda_context(clear_state=True)
    def handler(event: dict[str, Any], context: Any) -> Any:
        time_budget.begin(context)
        fault: Exception
        try:
            return handle(event)
        except ServiceFault as error:
            fault = error
        except (ClientError, BotoCoreError) as error:
            fault = ServiceFault(fault_name(error))
        except InvalidSetting as error:
            # Its text is of the environment, and not of the event.
            fault = InternalFault(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, its text must not reach the log
            fault = InternalFault(f"{type(error).__name__} at {_place(error)}")
        finally:
            if metrics.metric_set:
                metrics.flush_metrics()
            if not gc.isenabled():
                # The modules and clients of the cold start stay: the collector need not visit them.
                gc.freeze()
                gc.enable()
        logger.error("function failed", fault=str(fault), fault_type=type(fault).__name__)
        raise fault

    return handler


def fault_name(error: ClientError | BotoCoreError) -> str:
    """What failed, without parameters: `StartQueryExecution: InternalServerException`, or botocore's
    class.
    """
    if isinstance(error, ClientError):
        return f"{error.operation_name}: {error.response['Error']['Code']}"
    return type(error).__name__


def _place(error: Exception) -> str:
    """File and line of the innermost frame."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "unknown"
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
