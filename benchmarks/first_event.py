"""Lambda's cold start in a fresh interpreter: import a handler, and call it with one event.

`first_event.py MODULE EVENT TIMES` then calls it TIMES times more, and prints the mean of their
CPU seconds. Without arguments it does only what precedes any handler.
"""

import importlib
import json
import sys
import time


class Context:
    """What Powertools and the functions read of Lambda's context object."""

    function_name = memory_limit_in_mb = invoked_function_arn = aws_request_id = "benchmark"

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


def main(module: str, event: str, times: str) -> None:
    handler = importlib.import_module(module).handler
    handler(json.loads(event), Context())
    if int(times):
        began = time.process_time()
        for _ in range(int(times)):
            handler(json.loads(event), Context())
        print((time.process_time() - began) / int(times), file=sys.stderr)


if sys.argv[1:]:
    main(*sys.argv[1:])
