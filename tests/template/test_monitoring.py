"""Dashboard, alarms and saved queries use exactly the metrics and log fields that exist."""

import json
import re
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock, patch

import pytest

from functions import settle
from functions.metric_names import UNITS, Metric
from functions.queries import Query
from functions.task_table import Terms
from tests.template.conftest import ROOT, Synthesize
from tests.template.reading import Template, text

OURS = "AthenaQueries"
# The metrics of AWS services, by namespace, with the dimension that selects this stack.
AWS_METRICS = {
    "AWS/SQS": ({"ApproximateNumberOfMessagesVisible"}, "QueueName"),
    "AWS/Lambda": ({"Errors", "Throttles", "DestinationDeliveryFailures"}, "FunctionName"),
    "AWS/Events": ({"FailedInvocations"}, "RuleName"),
    "AWS/States": ({"ExecutionThrottled", "ExecutionsTimedOut"}, "StateMachineArn"),
    "AWS/DynamoDB": ({"WriteThrottleEvents"}, "TableName"),
}


def widgets(template: Template) -> list[dict[str, Any]]:
    _, dashboard = template.one("AWS::CloudWatch::Dashboard")
    body = json.loads(text(dashboard["DashboardBody"]))
    return [widget["properties"] for widget in body["widgets"] if widget["type"] == "metric"]


def graphed(template: Template) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Namespace, name and dimensions of each metric on the dashboard."""
    for widget in widgets(template):
        for namespace, name, *rest in widget["metrics"]:
            words = [one for one in rest if isinstance(one, str)]
            yield namespace, name, dict(zip(words[::2], words[1::2], strict=True))


def stack_name(template: Template) -> str:
    _, dashboard = template.one("AWS::CloudWatch::Dashboard")
    name: str = dashboard["DashboardName"]
    return name


def alarms(template: Template) -> list[dict[str, Any]]:
    return [one["Properties"] for one in template.resources("AWS::CloudWatch::Alarm").values()]


def test_every_metric_of_the_functions_is_on_the_dashboard(template: Template) -> None:
    shown = {name for namespace, name, _ in graphed(template) if namespace == OURS}

    assert shown == set(Metric)


def test_dashboard_and_alarms_use_only_existing_metrics_of_this_stack(template: Template) -> None:
    watched = [
        (
            one["Namespace"],
            one["MetricName"],
            {dimension["Name"]: text(dimension["Value"]) for dimension in one["Dimensions"]},
        )
        for one in alarms(template)
    ]
    for namespace, name, dimensions in [*graphed(template), *watched]:
        if namespace == OURS:
            assert name in set(Metric)
            assert dimensions == {"service": stack_name(template)}
        else:
            names, dimension = AWS_METRICS[namespace]
            assert name in names
            assert list(dimensions) == [dimension]


def test_titles_are_unique_and_axes_have_one_unit(template: Template) -> None:
    titles = [widget["title"] for widget in widgets(template)]
    assert len(set(titles)) == len(titles)
    for widget in widgets(template):
        units = {
            "Count" if rest[-1]["stat"] == "SampleCount" else UNITS[Metric(name)]
            for space, name, *rest in widget["metrics"]
            if space == OURS
        }
        assert len(units) <= 1
        assert widget["yAxis"]["left"]["label"]


def test_each_threshold_is_an_annotation_on_a_graph_of_its_metric(template: Template) -> None:
    lines = {
        (name, line["value"])
        for widget in widgets(template)
        for _, name, *_ in widget["metrics"]
        for line in widget.get("annotations", {}).get("horizontal", [])
    }
    for alarm in alarms(template):
        assert (alarm["MetricName"], alarm["Threshold"]) in lines


def runbook_sections() -> dict[str, str]:
    """Anchor to text of each section of the runbook. Headings in a row share the text that follows them."""
    sections: dict[str, str] = {}
    current: list[str] = []
    for part in re.split(r"^(#+ .*)$", (ROOT / "docs" / "runbook.md").read_text(), flags=re.MULTILINE):
        if part.startswith("#"):
            current.append(re.sub(r"[^a-z0-9 -]", "", part.strip("# ").lower()).replace(" ", "-"))
        elif part.strip():
            sections |= dict.fromkeys(current, part.strip())
            current = []
    return sections


def test_each_alarm_links_to_its_section_of_the_runbook(synthesize: Synthesize) -> None:
    _, template = synthesize({"runbookUrl": "https://wiki.example.com/athena?v=2"})
    for alarm in alarms(template):
        name = alarm["AlarmName"].removeprefix(f"{stack_name(template)}-")
        description = alarm["AlarmDescription"]
        assert description.endswith(f" Runbook: https://wiki.example.com/athena?v=2#{name.lower()}")
        assert name.lower() in runbook_sections(), f"docs/runbook.md has no section {name}"


def test_without_the_setting_alarms_name_the_runbook_in_the_repository(template: Template) -> None:
    for alarm in alarms(template):
        path, _, anchor = alarm["AlarmDescription"].rpartition(" Runbook: ")[2].partition("#")
        assert (ROOT / path).is_file()
        assert anchor in runbook_sections()


def test_the_runbook_counts_metrics_and_alarms(template: Template) -> None:
    costs = runbook_sections()["cost-of-monitoring"]
    assert f"{len(Metric)} custom metrics" in costs
    assert f"{len(alarms(template))} alarms" in costs


def alarm(template: Template, name: str) -> dict[str, Any]:
    (found,) = (one for one in alarms(template) if one["AlarmName"] == f"{stack_name(template)}-{name}")
    return found


# What each alarm is about, as its description has it: metric, statistic, threshold, and periods of how many
# seconds. Those of functions, rules and destinations are 1 in each period.
WATCHED: dict[str, tuple[str, str, float, int, int]] = {
    "Failures": ("Failures", "Sum", 5, 1, 300),
    "UntypedFailures": ("UntypedFailures", "Sum", 1, 1, 300),
    "ThrottledOut": ("Throttled", "Sum", 1, 1, 300),
    "ExecutionsTimedOut": ("ExecutionsTimedOut", "Sum", 1, 1, 300),
    "StuckExecutions": ("OldestStuckExecution", "Maximum", 360, 1, 600),
    "SweepMissing": ("OldestStuckExecution", "SampleCount", 1, 10, 60),
    "EventsLost": ("SettledByPoll", "Sum", 3, 1, 3600),
    "StatusEventsMissed": ("StatusEventsMissed", "Sum", 1, 1, 300),
    "CallbackLag": ("CallbackLag", "p99", 30_000, 1, 300),
    "DeadLetters": ("ApproximateNumberOfMessagesVisible", "Maximum", 1, 1, 300),
    **{
        f"{rule}Undelivered": ("FailedInvocations", "Sum", 1, 1, 300)
        for rule in ("QueryEnded", "ExecutionEnded", "Sweep", "BatchEnded", "BatchSweep")
    },
    **{
        f"{function}FailuresLost": ("DestinationDeliveryFailures", "Sum", 1, 1, 300)
        for function in ("Checker", "Canceller", "Reporter")
    },
    **{
        f"{function}{kind}": (kind, "Sum", 1, 3, 300)
        for function in ("Executor", "Checker", "Canceller", "Planner", "Reporter")
        for kind in ("Errors", "Throttles")
    },
}


def test_each_alarm_watches_its_metric(template: Template) -> None:
    found = {
        one["AlarmName"].removeprefix(f"{stack_name(template)}-"): (
            one["MetricName"],
            one.get("Statistic") or one.get("ExtendedStatistic"),
            one["Threshold"],
            one["EvaluationPeriods"],
            one["Period"],
        )
        for one in alarms(template)
    }
    assert found == WATCHED
    reversed_ = {
        one["AlarmName"] for one in alarms(template) if one["ComparisonOperator"] == "LessThanThreshold"
    }
    assert reversed_ == {f"{stack_name(template)}-SweepMissing"}


def test_only_a_missing_sweep_alarms_without_data(template: Template) -> None:
    breaching = [one["AlarmName"] for one in alarms(template) if one["TreatMissingData"] != "notBreaching"]
    assert breaching == [f"{stack_name(template)}-SweepMissing"]
    sweep = alarm(template, "SweepMissing")
    assert sweep["TreatMissingData"] == "breaching"
    # A sweep makes the sample count 1, which is within the threshold whatever it measured.
    assert sweep["Statistic"] == "SampleCount"
    assert (sweep["ComparisonOperator"], sweep["Threshold"]) == ("LessThanThreshold", 1)
    schedules = {
        one["Properties"]["ScheduleExpression"]
        for one in template.resources("AWS::Events::Rule").values()
        if "ScheduleExpression" in one["Properties"]
    }
    assert schedules == {"rate(5 minutes)"}
    assert sweep["Period"] * sweep["EvaluationPeriods"] == 2 * 300, "two sweeps"


# CloudWatch's ingestion and evaluation (CloudWatch user guide: metric alarms are evaluated every minute).
CLOUDWATCH_SECONDS = 120


def test_a_stuck_execution_alarms_within_fifteen_minutes(template: Template) -> None:
    stuck = alarm(template, "StuckExecutions")
    assert (stuck["MetricName"], stuck["Statistic"]) == ("OldestStuckExecution", "Maximum")
    assert stuck["EvaluationPeriods"] == 1
    assert stuck["Period"] >= 300, "each period has a sweep"
    assert stuck["Threshold"] + 300 + CLOUDWATCH_SECONDS <= 15 * 60


def test_the_threshold_of_stuck_executions_follows_the_settings(synthesize: Synthesize) -> None:
    _, template = synthesize({"patienceSeconds": "100", "pollSeconds": "10", "sweepMinutes": "30"})
    stuck = alarm(template, "StuckExecutions")
    assert stuck["Threshold"] == 120
    assert stuck["Period"] == 3600
    assert alarm(template, "SweepMissing")["EvaluationPeriods"] == 60


def test_one_execution_with_a_fault_raises_no_function_alarm(template: Template) -> None:
    # All retries of nine errors fit into two periods.
    for function in ("Executor", "Checker", "Canceller", "Planner", "Reporter"):
        for kind in ("Errors", "Throttles"):
            one = alarm(template, f"{function}{kind}")
            assert (one["Threshold"], one["Period"], one["EvaluationPeriods"]) == (1, 300, 3)
            assert one.get("DatapointsToAlarm", 3) == 3


def test_lost_events_are_counted_over_an_hour(template: Template) -> None:
    lost = alarm(template, "EventsLost")
    assert (lost["MetricName"], lost["Threshold"]) == ("SettledByPoll", 3)
    assert lost["Period"] * lost["EvaluationPeriods"] == 3600


# What an operator has to learn of although nothing is settled, with the metric that reports it.
OUTAGES = {
    "The rule QueryEnded is disabled": ("CallbackLag", "CallbackLag"),
    "Lambda throttles the checker": ("StuckExecutions", "OldestStuckExecution"),
    "The checker fails": ("StuckExecutions", "OldestStuckExecution"),
    "The task table was deleted": ("SweepMissing", "OldestStuckExecution"),
    "Athena is not available": ("StuckExecutions", "OldestStuckExecution"),
    "The rule ExecutionEnded is disabled": ("StatusEventsMissed", "StatusEventsMissed"),
    "The executor was deleted": ("UntypedFailures", "UntypedFailures"),
    "The executor fails": ("StuckExecutions", "OldestStuckExecution"),
    "The canceller fails": ("SweepMissing", "OldestStuckExecution"),
    "Athena's quota of active queries": ("ThrottledOut", "Throttled"),
    "An execution reaches the time limit": ("ExecutionsTimedOut", "ExecutionsTimedOut"),
    "The planner or the reporter fails": ("ReporterErrors", "Errors"),
    "The dead-letter queue cannot be written": ("CheckerFailuresLost", "DestinationDeliveryFailures"),
    "A rule cannot invoke its function": ("QueryEndedUndelivered", "FailedInvocations"),
}


def outages_in_the_runbook() -> dict[str, list[str]]:
    """Outage to the alarms that the runbook names for it."""
    table = runbook_sections()["which-alarm-reports-which-outage"]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if "|" in line]
    return {outage: re.findall(r"`(\w+)`", names) for outage, names, _ in rows[2:]}


@pytest.mark.parametrize("outage", OUTAGES)
def test_each_outage_has_an_alarm_that_the_runbook_names(template: Template, outage: str) -> None:
    name, metric = OUTAGES[outage]
    (named,) = (names for text_, names in outages_in_the_runbook().items() if text_.startswith(outage))
    assert name in named
    assert alarm(template, name)["MetricName"] == metric


def test_every_alarm_and_outage_of_the_runbook_s_table_exists(template: Template) -> None:
    table = outages_in_the_runbook()
    assert len(table) == len(OUTAGES)
    for names in table.values():
        for name in names:
            alarm(template, name)


def watched(template: Template, metric: str) -> list[str]:
    """The functions, or rules, of which an alarm watches the metric, by logical id."""
    return sorted(
        one["Dimensions"][0]["Value"]["Ref"] for one in alarms(template) if one["MetricName"] == metric
    )


def test_alarms_watch_every_function_and_rule(template: Template) -> None:
    functions = sorted(template.resources("AWS::Lambda::Function"))
    assert watched(template, "Errors") == watched(template, "Throttles") == functions
    assert watched(template, "FailedInvocations") == sorted(template.resources("AWS::Events::Rule"))
    destinations = template.resources("AWS::Lambda::EventInvokeConfig").values()
    sending = sorted(one["Properties"]["FunctionName"]["Ref"] for one in destinations)
    assert watched(template, "DestinationDeliveryFailures") == sending


def test_alarms_notify_the_topic_of_the_settings(synthesize: Synthesize) -> None:
    topic = "arn:aws:sns:eu-west-1:123456789012:on-call"

    _, template = synthesize({"alarmTopicArn": topic})

    for alarm in alarms(template):
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic]


def settled_fields() -> set[str]:
    """The fields of the line "settled", as functions/settle.py logs it."""
    terms = Terms(
        execution_id="e",
        redrive_count=0,
        attempt=1,
        max_attempts=1,
        idempotent=False,
        preview_rows=0,
        deadline=None,
        labels={},
    )
    query = Query(query_id="q", state="SUCCEEDED", sql="SELECT 1")
    runtime = Mock(settings=Mock(usd_per_terabyte=5.0), now=lambda: 0.0)
    with patch.object(settle, "logger") as logger, patch.object(settle, "measure"):
        settle.report(runtime, query, terms, "event", None)
    logger.info.assert_called_once()
    return set(logger.info.call_args.kwargs)


@pytest.mark.parametrize(
    "name",
    [
        "slowest",
        "most expensive",
        "failures by reason",
        "cost by label",
        "failures by label",
        "settled by the fallback",
    ],
)
def test_saved_queries_use_fields_that_are_logged(template: Template, name: str) -> None:
    saved = {
        one["Properties"]["Name"]: one["Properties"]
        for one in template.resources("AWS::Logs::QueryDefinition").values()
    }
    query = saved[f"{stack_name(template)}/{name}"]["QueryString"]
    used = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", re.sub(r'"[^"]*"|as \w+', "", query))) - {"latest_query"}

    assert used
    assert used <= settled_fields()
