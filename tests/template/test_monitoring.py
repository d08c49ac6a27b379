"""Dashboard, alarms and saved queries name what the functions emit, and the functions emit nothing else."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from functions.metric_names import UNITS, Metric
from tests.template.conftest import ROOT, Synthesize
from tests.template.reading import Template, text

OURS = "AthenaQueries"
# What CloudWatch has from AWS's own services, by namespace, with the dimension that makes it ours.
AWS_METRICS = {
    "AWS/SQS": ({"ApproximateNumberOfMessagesVisible"}, "QueueName"),
    "AWS/Lambda": ({"Errors", "Throttles"}, "FunctionName"),
    "AWS/States": ({"ExecutionThrottled", "ExecutionsTimedOut"}, "StateMachineArn"),
    "AWS/DynamoDB": ({"WriteThrottleEvents"}, "TableName"),
}


def widgets(template: Template) -> list[dict[str, Any]]:
    _, dashboard = template.one("AWS::CloudWatch::Dashboard")
    body = json.loads(text(dashboard["DashboardBody"]))
    return [widget["properties"] for widget in body["widgets"] if widget["type"] == "metric"]


def drawn(template: Template) -> Iterator[tuple[str, str, dict[str, str]]]:
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


def test_every_metric_that_functions_emit_is_on_the_dashboard(template: Template) -> None:
    shown = {name for namespace, name, _ in drawn(template) if namespace == OURS}

    assert shown == set(Metric)


def test_dashboard_and_alarms_name_only_metrics_that_exist_and_are_ours(template: Template) -> None:
    watched = [
        (
            one["Namespace"],
            one["MetricName"],
            {dimension["Name"]: text(dimension["Value"]) for dimension in one["Dimensions"]},
        )
        for one in alarms(template)
    ]
    for namespace, name, dimensions in [*drawn(template), *watched]:
        if namespace == OURS:
            assert name in set(Metric)
            assert dimensions == {"service": stack_name(template)}
        else:
            names, dimension = AWS_METRICS[namespace]
            assert name in names
            assert list(dimensions) == [dimension]


def test_titles_are_questions_and_axes_have_units(template: Template) -> None:
    for widget in widgets(template):
        assert widget["title"].endswith("?")
        units = {UNITS[Metric(name)] for space, name, *_ in widget["metrics"] if space == OURS}
        assert len(units) <= 1, "one axis has one unit"
        assert widget["yAxis"]["left"]["label"]


def test_each_alarm_of_ours_is_drawn_into_a_graph_of_its_metric(template: Template) -> None:
    lines = {
        (name, line["value"])
        for widget in widgets(template)
        for _, name, *_ in widget["metrics"]
        for line in widget.get("annotations", {}).get("horizontal", [])
    }
    for alarm in alarms(template):
        assert (alarm["MetricName"], alarm["Threshold"]) in lines


def test_each_alarm_says_what_it_means_and_where_the_runbook_goes_on(template: Template) -> None:
    headings = {
        re.sub(r"[^a-z]", "", line.lower())
        for line in (ROOT / "docs" / "runbook.md").read_text().splitlines()
        if line.startswith("#")
    }
    for alarm in alarms(template):
        meaning, _, anchor = alarm["AlarmDescription"].rpartition(" docs/runbook.md#")
        assert len(meaning) > 40
        assert anchor in headings


def test_no_alarm_flaps_on_a_quiet_night(template: Template) -> None:
    assert {alarm["TreatMissingData"] for alarm in alarms(template)} == {"notBreaching"}


def test_alarms_notify_the_topic_of_the_settings(synthesize: Synthesize) -> None:
    topic = "arn:aws:sns:eu-west-1:123456789012:on-call"

    _, template = synthesize({"alarmTopicArn": topic})

    for alarm in alarms(template):
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic]


def test_the_unheard_alarm_follows_patience_and_poll(synthesize: Synthesize) -> None:
    _, template = synthesize({"patienceSeconds": "100", "pollSeconds": "10"})

    assert [
        one["Threshold"]
        for one in alarms(template)
        if one.get("Statistic") == "Maximum" and one["MetricName"] == "CallbackLag"
    ] == [120_000]


# What functions/settle.py writes into the line "settled".
SETTLED_FIELDS = set(
    re.findall(r"^        (\w+)=", (ROOT / "functions" / "settle.py").read_text(), re.MULTILINE)
)


@pytest.mark.parametrize("name", ["slowest", "dearest", "failures by reason", "settled by the fallback"])
def test_saved_queries_ask_for_fields_that_are_logged(template: Template, name: str) -> None:
    saved = {
        one["Properties"]["Name"]: one["Properties"]
        for one in template.resources("AWS::Logs::QueryDefinition").values()
    }
    query = saved[f"{stack_name(template)}/{name}"]["QueryString"]
    asked = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", re.sub(r'"[^"]*"|as \w+', "", query))) - {
        "latest_query"
    }

    assert asked
    assert asked <= SETTLED_FIELDS
