"""One local Athena for the tier, with a workgroup, a bucket and a database; each test gets clients."""

import json
import time
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.config import Config

from local.emulator import eventbridge, glue_operations
from local.emulator.athena import api
from tests.athena import in_process

BUCKET = "lake"
WORK_GROUP = "queries"
DATABASE = "sales"
_ENDED = {"SUCCEEDED", "FAILED", "CANCELLED"}
_LIMIT_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Athena:
    """Clients of the local Athena, and helpers that run a statement to its end."""

    athena: Any
    glue: Any
    s3: Any

    def start(self, sql: str, **request: Any) -> str:
        context = {"Database": DATABASE} | request.pop("context", {})
        query_id: str = self.athena.start_query_execution(
            QueryString=sql, QueryExecutionContext=context, **{"WorkGroup": WORK_GROUP} | request
        )["QueryExecutionId"]
        return query_id

    def run(self, sql: str, **request: Any) -> dict[str, Any]:
        """Run a statement to its end and return its QueryExecution."""
        return self.ended(self.start(sql, **request))

    def ended(self, query_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + _LIMIT_SECONDS
        while time.monotonic() < deadline:
            query: dict[str, Any] = self.athena.get_query_execution(QueryExecutionId=query_id)[
                "QueryExecution"
            ]
            if query["Status"]["State"] in _ENDED:
                return query
            time.sleep(0.002)
        pytest.fail(f"{query_id} has not ended within {_LIMIT_SECONDS} s")

    def work_group(self, name: str, **configuration: Any) -> None:
        """Create a workgroup that writes its results to the bucket."""
        results = {"OutputLocation": f"s3://{BUCKET}/results/"}
        self.athena.create_work_group(
            Name=name, Configuration={"ResultConfiguration": results} | configuration
        )

    def results(self, query_id: str, **page: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.athena.get_query_results(QueryExecutionId=query_id, **page)
        return answer

    def rows(self, sql: str, **request: Any) -> list[list[str | None]]:
        """The rows of GetQueryResults, with any header row, of a statement that has to succeed."""
        query = self.run(sql, **request)
        assert query["Status"]["State"] == "SUCCEEDED", query["Status"].get("StateChangeReason")
        page = self.results(query["QueryExecutionId"])
        return [[cell.get("VarCharValue") for cell in row["Data"]] for row in page["ResultSet"]["Rows"]]

    def reason(self, sql: str, **request: Any) -> str:
        """The reason of a statement that has to fail."""
        query = self.run(sql, **request)
        assert query["Status"]["State"] == "FAILED", query["Status"]
        reason: str = query["Status"]["StateChangeReason"]
        return reason

    def object(self, uri: str) -> str:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        text: str = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()
        return text

    def put(self, key: str, body: str | bytes) -> str:
        """Put an object into the bucket and return its URI."""
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        return f"s3://{BUCKET}/{key}"


def clients(session: boto3.Session) -> Athena:
    # An error is the response under test, so there are no retries.
    once = Config(retries={"total_max_attempts": 1})
    made: Any = {name: session.client(name, config=once) for name in ("athena", "glue", "s3")}
    return Athena(**made)


@pytest.fixture(scope="session")
def loop() -> in_process.Loop:
    return in_process.Loop()


@pytest.fixture(scope="session")
def athena(loop: in_process.Loop) -> Athena:
    api.install()
    glue_operations.install()
    made = clients(in_process.session(loop))
    made.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": in_process.REGION})
    made.glue.create_database(DatabaseInput={"Name": DATABASE})
    made.work_group(WORK_GROUP)
    return made


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The details of Athena's state changes, in the order in which they were published."""
    published: list[dict[str, Any]] = []
    monkeypatch.setattr(eventbridge, "put", lambda detail: published.append(json.loads(json.dumps(detail))))
    return published
