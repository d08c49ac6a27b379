"""The 22 TPC-H queries through StartExecution, compared with DuckDB directly.

Both Athena and DuckDB accept the text, so the direct result does not depend on the local Athena: neither its
translation nor its tables. The parameters are the validation parameters of the specification.
"""

import csv
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from local import stack as local_stack
from local.emulator.glue import columns_of, parquet_table
from tests.end_to_end.conftest import Deployment

QUERIES = sorted((Path(__file__).parent / "tpch").glob("q*.sql"))
TABLES = ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier")
SCALE = "0.1"


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tpch")
    generator = Path(sys.executable).parent / "tpchgen-cli"
    subprocess.run(  # noqa: S603 - the pinned generator
        [str(generator), "parquet", "-s", SCALE, f"--output-dir={folder}"], check=True
    )
    return folder


@pytest.fixture(scope="module")
def tpch(tmp_path_factory: pytest.TempPathFactory, parquet: Path) -> Iterator[Deployment]:
    home = local_stack.share(tmp_path_factory.mktemp("tpch-stack"))
    settings = {**local_stack.SETTINGS, "readDatabases": "tpch", "readPrefixes": "tpch/"}
    deployment = Deployment(stack=local_stack.up(home=home, settings=settings))
    s3, glue = deployment.client("s3"), deployment.client("glue")
    s3.create_bucket(Bucket="tpch")
    glue.create_database(DatabaseInput={"Name": "tpch"})
    for table in TABLES:
        file = parquet / f"{table}.parquet"
        s3.put_object(Bucket="tpch", Key=f"{table}/{table}.parquet", Body=file.read_bytes())
        described = parquet_table(table, f"s3://tpch/{table}/", columns_of(file))
        glue.create_table(DatabaseName="tpch", TableInput=described)
    yield deployment
    local_stack.down(home)


@pytest.fixture(scope="module")
def direct(parquet: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as db:
        for table in TABLES:
            db.execute(f"CREATE VIEW {table} AS SELECT * FROM '{parquet / table}.parquet'")
        yield db


@pytest.mark.parametrize("file", QUERIES, ids=lambda file: file.stem)
def test_a_tpch_query_returns_what_duckdb_returns(
    tpch: Deployment, direct: duckdb.DuckDBPyConnection, file: Path
) -> None:
    sql = file.read_text()

    run = tpch.run({"QueryString": sql, "Database": "tpch"})

    assert run.error is None, run.cause
    assert run.output is not None
    expected = direct.execute(sql).fetchall()
    got = rows(tpch, run.output["OutputLocation"])
    assert len(got) == len(expected)
    assert expected, "a query without rows verifies nothing"
    for line, wanted in zip(got, expected, strict=True):
        assert [same(cell, value) for cell, value in zip(line, wanted, strict=True)] == list(wanted)


def test_all_22_are_here() -> None:
    assert len(QUERIES) == 22


def rows(deployment: Deployment, uri: str) -> list[list[str]]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    body = deployment.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode()
    return list(csv.reader(io.StringIO(body)))[1:]


def same(cell: str, value: Any) -> Any:
    """The result's text as a value of the expected type.

    The quotient of decimals is a decimal on Athena and a double on DuckDB, so the comparison is to as many
    digits as the result has.
    """
    if isinstance(value, float):
        digits = len(cell.partition(".")[2])
        return pytest.approx(float(cell), abs=0.5000001 * 10**-digits, rel=1e-12)
    return type(value)(cell) if not hasattr(value, "isoformat") else type(value).fromisoformat(cell)
