"""A DAG that runs a query each day through the state machine, waits without a worker, and uses the output."""

import os
from typing import Any

import pendulum
from airflow.providers.amazon.aws.operators.step_function import (
    StepFunctionGetExecutionOutputOperator,
    StepFunctionStartExecutionOperator,
)
from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowFailException


@dag(
    schedule="@daily",
    start_date=pendulum.datetime(2026, 11, 1, tz="UTC"),
    catchup=False,
    params={"database": Param("flights", type="string")},
)
def flights_by_carrier() -> None:
    run_query = StepFunctionStartExecutionOperator(
        task_id="run_query",
        state_machine_arn=os.environ["STATE_MACHINE_ARN"],
        # A task that is cleared runs the query again; the same try of the same day runs it once.
        name="flights-by-carrier-{{ ds }}-{{ ti.try_number }}",
        state_machine_input={
            "QueryString": "SELECT carrier, count(*) AS n FROM flights GROUP BY carrier ORDER BY n DESC",
            "Database": "{{ params.database }}",
            "PreviewRows": 3,
            "Labels": {"dag": "{{ dag.dag_id }}"},
        },
        # The triggerer waits: every 5 seconds, for an hour at most.
        deferrable=True,
        waiter_delay=5,
        waiter_max_attempts=720,
    )
    # It runs after a failure too, and then returns the name of the error. A failed task has no return value,
    # but the link to its execution has the ARN.
    execution = "ti.xcom_pull(task_ids='run_query', key='_state_machine_executions_details')"
    get_output = StepFunctionGetExecutionOutputOperator(
        task_id="get_output",
        execution_arn="{{ " + execution + "['execution_arn'] }}",
        trigger_rule="all_done",
    )

    @task
    def report(outcome: dict[str, Any] | str) -> list[list[str]]:
        """Return the first rows. Fail with the name of the error, such as AthenaQuery.Failed."""
        if isinstance(outcome, str):
            raise AirflowFailException(outcome)
        rows: list[list[str]] = outcome["Preview"]["Rows"]
        return rows

    run_query >> get_output
    report(get_output.output)


flights_by_carrier()
