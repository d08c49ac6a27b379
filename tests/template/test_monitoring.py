"""Dashboard, alarms and saved queries use exactly the metrics and log fields that exist."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from functions.metric_names import UNITS, Metric
from tests.template.conftest import ROOT, Synthesize
from tests.template.reading import Template, text

OURS = "AthenaQueries"
# The metrics of AWS services, by namespace, with the dimension that selects this stack.
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
        units = {UNITS[Metric(name)] for space, name, *_ in widget["metrics"] if space == OURS}
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


def test_missing_data_raises_no_alarm(template: Template) -> None:
    assert {alarm["TreatMissingData"] for alarm in alarms(template)} == {"notBreaching"}


def test_alarms_notify_the_topic_of_the_settings(synthesize: Synthesize) -> None:
    topic = "arn:aws:sns:eu-west-1:123456789012:on-call"

    _, template = synthesize({"alarmTopicArn": topic})

    for alarm in alarms(template):
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic]


def test_the_threshold_of_delayed_completions_follows_patience_and_poll(synthesize: Synthesize) -> None:
    _, template = synthesize({"patienceSeconds": "100", "pollSeconds": "10"})

    assert [
        one["Threshold"]
        for one in alarms(template)
        if one.get("Statistic") == "Maximum" and one["MetricName"] == "CallbackLag"
    ] == [120_000]


# The fields that functions/settle.py writes into the line "settled".
SETTLED_FIELDS = set(
    re.findall(r"^        (\w+)=", (ROOT / "functions" / "settle.py").read_text(), re.MULTILINE)
)


@pytest.mark.parametrize(
    "name", ["slowest", "most expensive", "failures by reason", "settled by the fallback"]
)
def test_saved_queries_use_fields_that_are_logged(template: Template, name: str) -> None:
    saved = {
        one["Properties"]["Name"]: one["Properties"]
        for one in template.resources("AWS::Logs::QueryDefinition").values()
    }
    query = saved[f"{stack_name(template)}/{name}"]["QueryString"]
    used = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", re.sub(r'"[^"]*"|as \w+', "", query))) - {"latest_query"}

    assert used
    assert used <= SETTLED_FIELDS
