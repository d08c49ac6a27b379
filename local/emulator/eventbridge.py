"""Where EventBridge differs from MiniStack's, and how Athena's state changes reach it."""

import contextvars
import json
import re
import threading
from collections import defaultdict
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

from ministack.core.responses import now_iso
from ministack.services import cloudwatch, lambda_svc, stepfunctions
from ministack.services import eventbridge as ministack

from local.emulator import roles, scheduler, sqs
from local.emulator.faults import faults

Mode = Literal["normal", "off", "twice", "early", "held"]
MODES: tuple[str, ...] = get_args(Mode)

_HANDLED_WITHIN_SECONDS = 30
_ministack_invoke_target = ministack._invoke_target


MISSING = object()
_SEGMENT = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


def install() -> None:
    ministack._invoke_target = _invoke_target
    ministack._dispatch_to_lambda = _dispatch_to_lambda
    ministack._apply_input_transformer = _apply_input_transformer


def fire_schedules(rule: str) -> None:
    """Fire the enabled scheduled rules whose name matches the pattern, whenever they were to fire next."""
    for (account, region, key), record in list(ministack._rules._data.items()):
        if record.get("ScheduleExpression") and fnmatchcase(record["Name"], rule):
            ministack._rule_last_fired[account, region, key] = 0
    ministack._tick_scheduled_rules()


def _invoke_target(
    target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None
) -> None:
    """Invoke a target and count it. An event that cannot be delivered to its target becomes a dead letter."""
    if event["Source"] == scheduler.SOURCE:
        target = scheduler.with_context(target, event)
    deliverable = _exists(target["Arn"]) and not _denial(target)
    for metric in ("TriggeredRules", "Invocations", *(() if deliverable else ("FailedInvocations",))):
        cloudwatch.record_metric("AWS/Events", metric, 1, "Count", {"RuleName": rule["Name"]})
    if deliverable:
        _ministack_invoke_target(target, event, rule, view)
    elif queue_arn := target.get("DeadLetterConfig", {}).get("Arn"):
        sent = sqs.send(
            queue_arn, json.dumps((view or ministack._pattern_event_view(event)).event_with_detail())
        )
        metric = "InvocationsSentToDlq" if sent else "InvocationsFailedToBeSentToDlq"
        cloudwatch.record_metric("AWS/Events", metric, 1, "Count", {"RuleName": rule["Name"]})


def _exists(arn: str) -> bool:
    if arn.startswith("arn:aws:lambda:"):
        return bool(lambda_svc._get_func_record_for_ref(arn)[0])
    if arn.startswith("arn:aws:states:"):
        return stepfunctions._resolve_state_machine_arn(arn) is not None
    return True


def _denial(target: dict[str, Any]) -> str | None:
    """Why the target's role may not start executions of it. Other targets have policies of their own."""
    if not target["Arn"].startswith("arn:aws:states:"):
        return None
    return roles.denial(target.get("RoleArn"), "states:StartExecution", target["Arn"])


def _apply_input_transformer(transformer: dict[str, Any], rule: dict[str, Any], view: Any) -> Any:
    """The target's input (user guide, "Amazon EventBridge input transformation")."""
    event = view.event_with_detail()
    values = {
        "aws.events.rule-arn": rule["Arn"],
        "aws.events.rule-name": rule["Name"],
        "aws.events.event.ingestion-time": now_iso(),
        "aws.events.event": view.envelope(),
        "aws.events.event.json": event,
    }
    for name, path in (transformer.get("InputPathsMap") or {}).items():
        value = resolve(path, event)
        values[name] = "" if value is MISSING else value
    return ministack._render_input_template(transformer["InputTemplate"], values)


def resolve(path: str, document: Any) -> Any:
    """The value at a path such as $.detail.items[0], or MISSING."""
    for name, index in _SEGMENT.findall(path.removeprefix("$")):
        try:
            document = document[int(index) if index else name]
        except (KeyError, IndexError, TypeError):
            return MISSING
    return document


def _dispatch_to_lambda(arn: str, payload: str) -> None:
    """EventBridge invokes asynchronously: with retries, then to the function's failure destination."""
    func, config, _ = lambda_svc._get_func_record_for_ref(arn)
    record = lambda_svc._execution_record_for_config(func, config)
    lambda_svc.invoke_async_with_retry(record, json.loads(payload))


class Delivery:
    """Delivers the state changes of queries to EventBridge in one of these modes.

    `normal`: immediately. `off`: never. `twice`: each one twice. `early`: the query ends, and its event is
    handled, before StartQueryExecution responds. `held`: when the mode changes.
    """

    def __init__(self) -> None:
        self.mode: str = "normal"
        # Events that are delayed.
        self.pending = 0
        self._held: list[dict[str, Any]] = []
        self._handled: defaultdict[str, threading.Event] = defaultdict(threading.Event)

    def early(self) -> bool:
        """Whether the query that is being started has to end before StartQueryExecution responds."""
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
            # No function will handle it, so there is nothing to wait for.
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
        """Block until a function has handled the completion event of the query."""
        self._handled[query_id].wait(_HANDLED_WITHIN_SECONDS)

    def record_handled(self, event: Any) -> None:
        """Called with the event of every Lambda invocation that has ended."""
        detail = event.get("detail") if isinstance(event, dict) else None
        if isinstance(detail, dict) and "queryExecutionId" in detail:
            self._handled[detail["queryExecutionId"]].set()


delivery = Delivery()


def put(detail: dict[str, Any]) -> None:
    """Put an Athena state change on the default bus. PutEvents rejects this source, as on AWS."""
    entry = {
        "Source": "aws.athena",
        "DetailType": "Athena Query State Change",
        "Detail": json.dumps(detail),
    }
    ministack._put_events({"Entries": [entry]}, allow_aws_source=True)
