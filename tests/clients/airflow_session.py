"""Runs examples/airflow with Airflow's own runner and prints the outcomes as JSON.

Run by its environment's Python. AIRFLOW__CORE__DAGS_FOLDER is the folder of the DAG.
"""

import contextlib
import json
import os
import sys
from typing import Any

# Airflow logs to standard output; the last line is the report.
with contextlib.redirect_stdout(sys.stderr):
    import pendulum
    from airflow.utils.db import initdb

    initdb()
    sys.path.insert(0, os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    from flights_by_carrier import flights_by_carrier


def outcome(day: int, **parameters: str) -> dict[str, Any]:
    """The state of the run for a day of November 2026, and the state and the value of each of its tasks."""
    moment = pendulum.datetime(2026, 11, day, tz="UTC")
    run = flights_by_carrier().test(logical_date=moment, run_conf=parameters)
    tasks = {
        one.task_id: [one.state, one.xcom_pull(task_ids=one.task_id)] for one in run.get_task_instances()
    }
    return {"state": run.state, "tasks": tasks}


with contextlib.redirect_stdout(sys.stderr):
    report = {"good": outcome(1), "failing": outcome(2, database="scratch")}
print(json.dumps(report))
