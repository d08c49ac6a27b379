"""Saved CloudWatch Logs Insights queries over the log lines "settled" (functions/settle.py) and "refused"
(functions/executor.py).
"""

from collections.abc import Sequence

from aws_cdk import aws_logs as logs
from constructs import Construct

_SETTLED = 'filter message = "settled"'
# One record for each label of a query, for example "team=growth".
_BY_LABEL = "fields jsonParse(@message) as line | unnest line.labels into label"
_QUERIES = {
    "slowest": f"{_SETTLED} | sort total_ms desc | limit 50 "
    "| display @timestamp, total_ms, queue_ms, planning_ms, engine_ms, query_id, execution_id",
    "most expensive": f"{_SETTLED} | sort cost_usd desc | limit 50 "
    "| display @timestamp, cost_usd, scanned_bytes, statement_type, query_id, execution_id",
    "failures by reason": f'{_SETTLED} and state != "SUCCEEDED" '
    "| stats count(*) as queries, latest(query_id) as latest_query by outcome, error_category, error_type "
    "| sort queries desc",
    "cost by label": f"{_SETTLED} | {_BY_LABEL} "
    "| stats sum(cost_usd) as usd, sum(scanned_bytes) as bytes, count(*) as queries by label | sort usd desc",
    "failures by label": 'filter (message = "settled" and state != "SUCCEEDED") or message = "refused" '
    f"| fields coalesce(outcome, error) as failure | {_BY_LABEL} "
    "| stats count(*) as queries, latest(query_id) as latest_query by label, failure, error_type "
    "| sort queries desc",
    "settled by the fallback": f'{_SETTLED} and settled_by = "poll" '
    "| display @timestamp, lag_ms, state, query_id, execution_id | sort @timestamp desc",
}


def save_queries(scope: Construct, *, prefix: str, log_groups: Sequence[logs.LogGroup]) -> None:
    """Save them as `prefix`/NAME over the log groups."""
    for name, text in _QUERIES.items():
        logs.CfnQueryDefinition(
            scope,
            f"Query {name}",
            name=f"{prefix}/{name}",
            query_string=text,
            log_group_names=[group.log_group_name for group in log_groups],
        )
