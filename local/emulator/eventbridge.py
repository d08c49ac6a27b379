"""How Athena's state changes reach EventBridge: at once as a rule, or as badly as a test asks for."""

import contextvars
import json
import threading
from collections import defaultdict
from typing import Any, Literal, get_args

from ministack.services import eventbridge

from local.emulator.faults import faults

Mode = Literal["normal", "off", "twice", "early", "held"]
MODES: tuple[str, ...] = get_args(Mode)

_HANDLED_WITHIN_SECONDS = 30


class Delivery:
    """Delivers state changes to EventBridge as its mode says.

    `normal`: at once. `off`: never. `twice`: each comes again. `early`: the query ends and its event
    is handled before StartQueryExecution answers. `held`: when the mode changes.
    """

    def __init__(self) -> None:
        self.mode: str = "normal"
        self._held: list[dict[str, Any]] = []
        self._handled: defaultdict[str, threading.Event] = defaultdict(threading.Event)

    def early(self) -> bool:
        """Whether the query that is being started now shall end before StartQueryExecution answers."""
        return self.mode == "early" or (self.mode == "normal" and faults.happens("early"))

    def switch(self, mode: str) -> None:
        """Raise ValueError for a mode that does not exist."""
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}; it must be one of {', '.join(MODES)}")
        self.mode = mode
        held, self._held = self._held, []
        for detail in held:
            self.publish(detail)

    def publish(self, detail: dict[str, Any]) -> None:
        """Deliver a state change as the mode says."""
        if self.mode == "held":
            self._held.append(detail)
        elif self.mode == "normal" and faults.chaos:
            self._publish_badly(detail)
        elif self.mode != "off":
            for _ in range(2 if self.mode == "twice" else 1):
                put(detail)

    def _publish_badly(self, detail: dict[str, Any]) -> None:
        if detail["currentState"] not in {"SUCCEEDED", "FAILED", "CANCELLED"}:
            put(detail)
            return
        if faults.happens("drop"):
            # Nobody will hear of it, so nobody has to be waited for.
            self._handled[detail["queryExecutionId"]].set()
            return
        for _ in range(2 if faults.happens("duplicate") else 1):
            # A timer's thread starts without the account and the region of the request.
            late = threading.Timer(faults.delay(), contextvars.copy_context().run, (put, detail))
            late.daemon = True
            late.start()

    def wait_until_handled(self, query_id: str) -> None:
        """Block until the function that hears of the query's end has run."""
        self._handled[query_id].wait(_HANDLED_WITHIN_SECONDS)

    def note_handled(self, event: Any) -> None:
        """Called with the event of every Lambda invocation that has ended."""
        if isinstance(event, dict) and event.get("detail-type") == "Athena Query State Change":
            self._handled[event["detail"].get("queryExecutionId", "")].set()


delivery = Delivery()


def put(detail: dict[str, Any]) -> None:
    """Put an event on the default bus. PutEvents refuses the source aws.athena, as AWS does."""
    eventbridge._put_events(
        {
            "Entries": [
                {
                    "Source": "aws.athena",
                    "DetailType": "Athena Query State Change",
                    "Detail": json.dumps(detail),
                }
            ]
        },
        allow_aws_source=True,
    )
