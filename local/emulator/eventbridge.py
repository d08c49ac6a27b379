"""EventBridge: how Athena's state changes reach it, at once or with the faults that a test asks for."""

import contextvars
import json
import threading
from collections import defaultdict
from typing import Any, Literal, get_args

from ministack.services import eventbridge as ministack
from ministack.services import lambda_svc

from local.emulator.faults import faults

Mode = Literal["normal", "off", "twice", "early", "held"]
MODES: tuple[str, ...] = get_args(Mode)

_HANDLED_WITHIN_SECONDS = 30


def install() -> None:
    ministack._dispatch_to_lambda = _dispatch_to_lambda


def _dispatch_to_lambda(arn: str, payload: str) -> None:
    """EventBridge invokes asynchronously: with retries, then to the function's failure destination."""
    func, config, _ = lambda_svc._get_func_record_for_ref(arn)
    if func and config:
        record = lambda_svc._execution_record_for_config(func, config)
        lambda_svc.invoke_async_with_retry(record, json.loads(payload))


class Delivery:
    """Delivers the state changes of queries to EventBridge in one of these modes.

    `normal`: at once. `off`: never. `twice`: each one twice. `early`: the query ends and its event is handled
    before StartQueryExecution answers. `held`: when the mode changes.
    """

    def __init__(self) -> None:
        self.mode: str = "normal"
        # Events that are delayed.
        self.pending = 0
        self._held: list[dict[str, Any]] = []
        self._handled: defaultdict[str, threading.Event] = defaultdict(threading.Event)

    def early(self) -> bool:
        """Whether the query that is being started now shall end before StartQueryExecution answers."""
        return self.mode == "early" or (self.mode == "normal" and faults.happens("early"))

    def set_mode(self, mode: str) -> None:
        """Raise ValueError for an unknown mode."""
        if mode not in MODES:
            raise ValueError(f"unknown mode {mode!r}; allowed: {', '.join(MODES)}")
        self.mode = mode
        held, self._held = self._held, []
        for detail in held:
            self.publish(detail)

    def publish(self, detail: dict[str, Any]) -> None:
        """Deliver a state change in the current mode."""
        if self.mode == "held":
            self._held.append(detail)
        elif self.mode == "normal":
            self._publish_with_faults(detail)
        elif self.mode != "off":
            for _ in range(2 if self.mode == "twice" else 1):
                put(detail)

    def _publish_with_faults(self, detail: dict[str, Any]) -> None:
        if detail["currentState"] not in {"SUCCEEDED", "FAILED", "CANCELLED"}:
            put(detail)
            return
        if faults.happens("drop"):
            # No function will handle it, so nothing has to wait for that.
            self._handled[detail["queryExecutionId"]].set()
            return
        for _ in range(2 if faults.happens("duplicate") else 1):
            if delay := faults.delay():
                self.pending += 1
                # A timer's thread starts without the account and the region of the request.
                timer = threading.Timer(delay, contextvars.copy_context().run, (self._put_late, detail))
                timer.daemon = True
                timer.start()
            else:
                put(detail)

    def _put_late(self, detail: dict[str, Any]) -> None:
        put(detail)
        self.pending -= 1

    def wait_until_handled(self, query_id: str) -> None:
        """Block until a function has handled the event of the query's end."""
        self._handled[query_id].wait(_HANDLED_WITHIN_SECONDS)

    def record_handled(self, event: Any) -> None:
        """Called with the event of every Lambda invocation that has ended."""
        detail = event.get("detail") if isinstance(event, dict) else None
        if isinstance(detail, dict) and "queryExecutionId" in detail:
            self._handled[detail["queryExecutionId"]].set()


delivery = Delivery()


def put(detail: dict[str, Any]) -> None:
    """Put a state change of Athena's on the default bus. PutEvents refuses the source, as on AWS."""
    entry = {
        "Source": "aws.athena",
        "DetailType": "Athena Query State Change",
        "Detail": json.dumps(detail),
    }
    ministack._put_events({"Entries": [entry]}, allow_aws_source=True)
