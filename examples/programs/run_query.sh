#!/usr/bin/env bash
# Run a statement through the state machine and print its rows as CSV: run_query.sh NAME SQL
# STATE_MACHINE_ARN names the state machine. NAME is the execution's: the same NAME runs the same SQL once.
# Needs the AWS CLI and jq.
set -euo pipefail
name=$1
# The state machine stops the query after TimeoutSeconds: AthenaQuery.TimedOut.
input=$(jq -cn --arg sql "$2" '{QueryString: $sql, TimeoutSeconds: 600}')
arn=${STATE_MACHINE_ARN/:stateMachine:/:execution:}:$name

describe() {
  aws stepfunctions describe-execution --execution-arn "$arn" --output json
}

fail() {
  echo "$1" >&2
  exit 1
}

if ! refusal=$(aws stepfunctions start-execution --state-machine-arn "$STATE_MACHINE_ARN" --name "$name" \
  --input "$input" 2>&1 >/dev/null); then
  # An execution of this name is welcome if it has the same input.
  [[ $refusal == *ExecutionAlreadyExists* && $(describe | jq -r .input) == "$input" ]] || fail "$refusal"
fi

# After PATIENCE_SECONDS, this script stops the execution.
deadline=$((SECONDS + ${PATIENCE_SECONDS:-3600}))
while execution=$(describe) && [[ $(jq -r .status <<<"$execution") == RUNNING ]]; do
  if ((SECONDS >= deadline)); then
    aws stepfunctions stop-execution --execution-arn "$arn" --cause "The caller stopped waiting" >/dev/null
    fail "$name did not end within ${PATIENCE_SECONDS:-3600} s and was stopped"
  fi
  sleep $((SECONDS < 50 ? 1 + SECONDS / 10 : 5))
done

if [[ $(jq -r .status <<<"$execution") != SUCCEEDED ]]; then
  fail "$(jq -r '"\(.error // .status): \(.cause // "")"' <<<"$execution")"
fi
aws s3 cp --quiet "$(jq -r '.output | fromjson | .OutputLocation' <<<"$execution")" -
