"""A batch's files in S3, which planner and reporter share.

They are below `batchesPrefix`, in a folder for each state machine and execution:

items.jsonl      what the Distributed Map reads: the queries to run
plan.jsonl       what the manifest follows: a line for each query of the input, without SQL
map/             what the Distributed Map writes
rows-0.jsonl     rows of the manifest that a reporter found before its time was up, for each redrive
manifest.jsonl   the manifest
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from functions.batch_runtime import BatchSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# An execution's name holds 80 characters (StartExecution API reference). The rest is for the position and the
# number of a redrive.
_NAME_CHARACTERS = 68

# Without s3:ListBucket, S3 answers 403 for a key that does not exist (GetObject API reference). No object has
# a key that is too long.
_MISSING = frozenset({"NoSuchKey", "NotFound", "404", "AccessDenied", "Forbidden", "403", "KeyTooLongError"})

# Metadata of a manifest.
FINAL, REDRIVE_COUNT = "final", "redrive-count"


class Missing(Exception):
    """The object does not exist, or may not be read."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A query of the input. `execution` is its execution's name, without the suffix of a redrive.

    `refused` is why the query cannot be passed on: an execution with an empty input stands for it. `carried`
    is the row of an earlier run, in which the query succeeded.
    """

    position: int
    name: str
    batch: str | None
    input_sha256: str
    execution: str
    refused: str | None = None
    carried: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Files:
    """Keys of a batch's files."""

    folder: str

    @classmethod
    def of(cls, execution_id: str, settings: BatchSettings) -> "Files":
        return cls.below(settings.batches_prefix, execution_id)

    @classmethod
    def below(cls, prefix: str, execution_id: str) -> "Files":
        *_, state_machine, name = execution_id.split(":")
        return cls(folder=f"{prefix}{state_machine}/{name}/")

    @property
    def items(self) -> str:
        return f"{self.folder}items.jsonl"

    @property
    def plan(self) -> str:
        return f"{self.folder}plan.jsonl"

    @property
    def map_results(self) -> str:
        return f"{self.folder}map"

    def rows(self, redrive_count: int) -> str:
        return f"{self.folder}rows-{redrive_count}.jsonl"

    @property
    def manifest(self) -> str:
        return f"{self.folder}manifest.jsonl"


def execution_name(batch_execution_id: str, position: int) -> str:
    """The name of a query's execution: that of the batch's, cut to fit, with the query's position."""
    name = batch_execution_id.rpartition(":")[2]
    if len(name) > _NAME_CHARACTERS:
        name = f"{name[: _NAME_CHARACTERS - 13]}-{sha256(name.encode()).hexdigest()[:12]}"
    return f"{name}-{position:05}"


def input_sha256(document: Mapping[str, Any]) -> str:
    return sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def parse_location(uri: str) -> tuple[str, str]:
    """Bucket and key of an S3 URI."""
    match = re.fullmatch(r"s3://([^/]+)/(.+)", uri, re.DOTALL)
    if match is None:
        raise ValueError(uri)
    return match[1], match[2]


def read(s3: "S3Client", bucket: str, key: str, most: int | None = None) -> bytes:
    """The object's content, or its first `most` bytes.

    Raise Missing if the object does not exist or may not be read.
    """
    try:
        return s3.get_object(Bucket=bucket, Key=key)["Body"].read(most)
    except ClientError as error:
        raise _missing(error) from None


def read_metadata(s3: "S3Client", bucket: str, key: str) -> dict[str, str]:
    """The object's metadata. Raise Missing as `read` does."""
    try:
        return s3.head_object(Bucket=bucket, Key=key)["Metadata"]
    except ClientError as error:
        raise _missing(error) from None


def _missing(error: ClientError) -> Exception:
    return Missing() if error.response["Error"]["Code"] in _MISSING else error


def write_lines(
    s3: "S3Client",
    bucket: str,
    key: str,
    lines: Iterable[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a JSON Lines file."""
    s3.put_object(
        Bucket=bucket,
        Key=key,
        # Line by line, since text in memory may be four times as large as its UTF-8.
        Body=b"".join(f"{line}\n".encode() for line in lines),
        ContentType="application/jsonl",
        Metadata=dict(metadata or {}),
    )


def write_plan(s3: "S3Client", bucket: str, key: str, plan: Iterable[Planned]) -> None:
    write_lines(s3, bucket, key, (json.dumps(asdict(one)) for one in plan))


def read_plan(s3: "S3Client", bucket: str, key: str) -> list[Planned]:
    """Raise Missing if the batch was not planned."""
    return [Planned(**json.loads(line)) for line in read(s3, bucket, key).splitlines()]
