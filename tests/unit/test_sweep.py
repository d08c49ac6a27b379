"""What a sweep does after an execution whose clean-up failed."""

import pytest
from botocore.exceptions import ClientError

from functions.errors import ServiceFault
from functions.sweep import clean_up_each
from functions.time_budget import OutOfTime

THROTTLED = ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "GetItem")


@pytest.mark.parametrize(
    ("error", "seen", "fault"),
    [
        (THROTTLED, ["a", "b", "c"], "GetItem: ThrottlingException"),
        (ServiceFault("not visible yet"), ["a", "b", "c"], "not visible yet"),
        # Each further one would fail likewise.
        (OutOfTime(), ["a", "b"], "OutOfTime"),
    ],
)
def test_the_others_do_not_wait_for_it_while_there_is_time(
    error: Exception, seen: list[str], fault: str
) -> None:
    cleaned_up: list[str] = []

    def clean_up(execution: str) -> None:
        cleaned_up.append(execution)
        if execution == "b":
            raise error

    with pytest.raises(ServiceFault, match=fault):
        clean_up_each("abc", clean_up)

    assert cleaned_up == seen
