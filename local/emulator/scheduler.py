"""EventBridge Scheduler: context attributes in the target's input, and firing on demand."""

from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from ministack.core.responses import get_account_id, get_region, new_uuid
from ministack.services import eventbridge
from ministack.services import scheduler as ministack

SOURCE = "aws.scheduler"


def fire_schedules(schedule: str, time: str) -> None:
    """Invoke the targets of the enabled schedules whose name matches the pattern, as scheduled for `time`.

    Raise ValueError for a time that is not ISO 8601, or if no schedule matches.
    """
    moment = datetime.fromisoformat(time)
    matching = [
        one
        for one in ministack._schedules.values()
        if one["State"] == "ENABLED" and fnmatchcase(one["Name"], schedule)
    ]
    if not matching:
        raise ValueError(f"no enabled schedule matches {schedule}")
    for one in matching:
        event = {
            "EventId": new_uuid(),
            "Source": SOURCE,
            "DetailType": "Scheduled Event",
            "Detail": "{}",
            "Time": moment.timestamp(),
            "Resources": [one["Arn"]],
            "Account": get_account_id(),
            "Region": get_region(),
        }
        eventbridge._invoke_target(one["Target"], event, one)


def with_context(target: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
    """The target of a schedule with its context attributes (user guide, "Adding context attributes")."""
    moment = datetime.fromtimestamp(event["Time"], UTC).replace(microsecond=0)
    values = {
        "schedule-arn": event["Resources"][0],
        "scheduled-time": moment.isoformat().replace("+00:00", "Z"),
        "execution-id": event["EventId"],
        "attempt-number": "1",
    }
    text = target.get("Input", "{}")
    for name, value in values.items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return {**target, "Input": text}
