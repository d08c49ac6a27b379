"""Objects on MiniStack's S3, as Athena reads and writes them."""

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from ministack.services import athena, s3

from local.emulator.athena import permissions
from local.emulator.athena.errors import Failure

_RESULT_WRITE_FAILED = 401


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`."""
    place = urlsplit(uri)
    return place.netloc, place.path.lstrip("/")


def put(uri: str, body: bytes) -> None:
    """Raise Failure if Athena could not write there."""
    bucket, key = split(uri)
    permissions.check_object("PutObject", bucket, key)
    _put(uri, body)


def put_result(uri: str, body: bytes, key_arn: str | None) -> None:
    """Write a query's result, encrypted if there is a key. Raise Failure if Athena could not."""
    allowed = key_arn is None or permissions.allows_key("GenerateDataKey", key_arn)
    if not (allowed and permissions.allows_object("PutObject", *split(uri))):
        reason = f"Access denied when writing output to url: {uri} . "
        advice = "Please ensure you are allowed to access the S3 bucket."
        raise Failure(reason + advice, _RESULT_WRITE_FAILED)
    _put(uri, body)


def _put(uri: str, body: bytes) -> None:
    bucket, key = split(uri)
    answer = s3._put_object(bucket, key, body, {"content-length": str(len(body))})
    if answer[0] >= 300:  # noqa: PLR2004 - HTTP
        raise Failure(f"Unable to write to the output location {uri}: no such bucket", _RESULT_WRITE_FAILED)


def can_locate(uri: str) -> bool:
    """Whether the bucket exists and the starter may read its location."""
    bucket, _ = split(uri)
    return bucket in s3._buckets and permissions.allows_locating(bucket)


def keys(location: str) -> list[str]:
    """The keys below a location that Athena reads, without names that start with a dot or an underscore."""
    bucket, prefix = split(location)
    prefix = prefix.rstrip("/") + "/" if prefix.strip("/") else ""
    permissions.check_list(bucket, prefix)
    objects = (s3._buckets.get(bucket) or {"objects": {}})["objects"]
    return [
        key
        for key in sorted(objects)
        if key.startswith(prefix) and not key.endswith("/") and not athena._hidden(key[len(prefix) :])
    ]


def files(location: str) -> list[Path]:
    """Local copies of the objects at a location, each copied once. The path ends with the key."""
    bucket, _ = split(location)
    return [_file(bucket, key) for key in keys(location)]


def uri_of(file: Path) -> str:
    """The S3 URI of the object of which a file is the copy."""
    bucket, _, *key = file.relative_to(_cache()).parts
    return f"s3://{bucket}/{'/'.join(key)}"


def _file(bucket: str, key: str) -> Path:
    permissions.check_object("GetObject", bucket, key)
    described = s3._buckets[bucket]["objects"][key]
    etag = re.sub(r"\W", "", str(described.get("etag", "")))
    file = _cache() / bucket / etag / key
    if etag and file.exists():
        return file
    data = s3._get_object_data(bucket, key) or b""
    if not etag:
        file = _cache() / bucket / hashlib.sha256(data).hexdigest() / key
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.urandom(4).hex()}")
    part.write_bytes(data)
    part.rename(file)
    return file


def _cache() -> Path:
    return Path(os.environ["S3_DATA_DIR"]) / "tables"
