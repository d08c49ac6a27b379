"""Tables from creation to deletion, in the formats that can be written locally."""

import io
import json
from datetime import date
from decimal import Decimal

import pyorc
import pytest
from botocore.exceptions import ClientError

from tests.athena.conftest import BUCKET, Athena


@pytest.fixture
def database(athena: Athena, request: pytest.FixtureRequest) -> str:
    """A database for one test, which is the context of its statements."""
    name = str(request.node.originalname).removeprefix("test_")[:40]
    athena.run(f"CREATE DATABASE {name}")
    return name


def partitions(athena: Athena, database: str, table: str) -> dict[str, str]:
    """The values and location of each partition in Glue."""
    found = athena.glue.get_partitions(DatabaseName=database, TableName=table)["Partitions"]
    return {"/".join(one["Values"]): one["StorageDescriptor"]["Location"] for one in found}


def test_a_partitioned_ctas_registers_its_partitions(athena: Athena, database: str) -> None:
    context = {"Database": database}
    query = athena.run(
        "CREATE TABLE t WITH (partitioned_by = ARRAY['year', 'half']) AS "
        "SELECT * FROM (VALUES (1, 2023, 'a'), (2, 2024, 'a'), (3, 2024, NULL)) AS v(n, year, half)",
        context=context,
    )

    location = query["ResultConfiguration"]["OutputLocation"]
    assert athena.rows("SHOW PARTITIONS t", context=context) == [
        ["year=2023/half=a"],
        ["year=2024/half=__HIVE_DEFAULT_PARTITION__"],
        ["year=2024/half=a"],
    ]
    assert partitions(athena, database, "t")["2023/a"] == f"{location}/year=2023/half=a/"
    assert athena.rows("SELECT n, half FROM t WHERE year = 2024 ORDER BY n", context=context) == [
        ["n", "half"],
        ["2", "a"],
        ["3", None],
    ]


def test_partition_keys_come_last(athena: Athena, database: str) -> None:
    reason = athena.reason(
        f"CREATE TABLE {database}.t WITH (partitioned_by = ARRAY['a']) AS SELECT 1 AS a, 2 AS b"
    )

    assert reason.startswith("HIVE_COLUMN_ORDER_MISMATCH: Partition keys must be the last columns")


def test_an_insert_adds_a_partition(athena: Athena, database: str) -> None:
    context = {"Database": database}
    athena.run(
        "CREATE TABLE t WITH (partitioned_by = ARRAY['p']) AS SELECT 1 AS n, 'a' AS p", context=context
    )

    athena.run("INSERT INTO t VALUES (2, 'b'), (3, 'a')", context=context)

    assert set(partitions(athena, database, "t")) == {"a", "b"}
    assert athena.rows("SELECT p, sum(n) AS s FROM t GROUP BY p ORDER BY p", context=context) == [
        ["p", "s"],
        ["a", "4"],
        ["b", "2"],
    ]


def test_only_partitions_in_glue_are_read(athena: Athena, database: str) -> None:
    context = {"Database": database}
    for day in ("01", "02"):
        athena.put(f"{database}/day={day}/rows.json", json.dumps({"n": int(day)}) + "\n")
    athena.run(
        "CREATE EXTERNAL TABLE t (n int) PARTITIONED BY (day string) "
        f"ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe' LOCATION 's3://{BUCKET}/{database}/'",
        context=context,
    )
    assert athena.rows("SELECT n FROM t", context=context) == [["n"]]

    athena.run("ALTER TABLE t ADD PARTITION (day = '01')", context=context)
    assert athena.rows("SELECT n, day FROM t", context=context) == [["n", "day"], ["1", "01"]]

    assert athena.rows("MSCK REPAIR TABLE t", context=context) == [
        ["Partitions not in metastore:\tt:day=02"],
        [f"Repair: Added partition to metastore {database}.t:day=02"],
    ]
    assert athena.rows("SELECT count(*) AS n FROM t", context=context) == [["n"], ["2"]]

    athena.run("ALTER TABLE t DROP PARTITION (day = '01')", context=context)
    assert athena.rows("SHOW PARTITIONS t", context=context) == [["day=02"]]


def test_a_partition_may_be_anywhere(athena: Athena, database: str) -> None:
    athena.put("elsewhere/rows.txt", "7\n")
    athena.run(
        f"CREATE EXTERNAL TABLE {database}.t (n int) PARTITIONED BY (p int) LOCATION 's3://{BUCKET}/{database}/'"
    )

    athena.run(f"ALTER TABLE {database}.t ADD PARTITION (p = 1) LOCATION 's3://{BUCKET}/elsewhere/'")

    assert athena.rows(f"SELECT n, p FROM {database}.t") == [["n", "p"], ["7", "1"]]


def test_a_location_of_ctas_is_refused_where_the_workgroup_has_its_own(athena: Athena, database: str) -> None:
    sql = f"CREATE TABLE {database}.t WITH (external_location = 's3://{BUCKET}/mine/') AS SELECT 1 AS x"
    athena.work_group(database, EnforceWorkGroupConfiguration=False)

    with pytest.raises(ClientError, match="enforces a centralized output location"):
        athena.start(sql)

    assert athena.run(sql, WorkGroup=database)["Status"]["State"] == "SUCCEEDED"
    again = athena.reason(sql.replace(".t ", ".u "), WorkGroup=database)
    assert again.startswith(
        f"HIVE_PATH_ALREADY_EXISTS: Target directory for table '{database}.u' already exists"
    )


def test_an_existing_table_is_not_created_again(athena: Athena, database: str) -> None:
    sql = f"CREATE TABLE {database}.t AS SELECT 1 AS x"
    athena.run(sql)

    assert athena.reason(sql).startswith(
        f"TABLE_ALREADY_EXISTS: line 1:1: Destination table 'awsdatacatalog.{database}.t' already exists. "
        "You may need to manually clean the data at location"
    )
    assert athena.run(sql.replace("TABLE", "TABLE IF NOT EXISTS"))["Status"]["State"] == "SUCCEEDED"


@pytest.mark.parametrize("form", ["PARQUET", "JSON", "TEXTFILE"])
def test_a_table_is_read_as_it_was_written(athena: Athena, form: str) -> None:
    table = f"as_{form.lower()}"
    select = (
        "SELECT 1 AS n, 'a, \"b\"' AS s, 1.50 AS d, true AS yes, DATE '2024-02-29' AS day, "
        "CAST(NULL AS int) AS x"
    )

    athena.run(f"CREATE TABLE {table} WITH (format = '{form}') AS {select}")
    athena.run(f"INSERT INTO {table} (n, s) VALUES (2, 'c')")

    assert athena.rows(f"SELECT * FROM {table} ORDER BY n") == [
        ["n", "s", "d", "yes", "day", "x"],
        ["1", 'a, "b"', "1.50", "true", "2024-02-29", None],
        ["2", "c", None, None, None, None],
    ]


@pytest.mark.parametrize(
    ("sql", "form"),
    [
        ("CREATE TABLE never WITH (format = 'ORC') AS SELECT 1 AS x", "ORC"),
        ("CREATE TABLE never WITH (format = 'AVRO') AS SELECT 1 AS x", "AVRO"),
        (f"UNLOAD (SELECT 1 AS x) TO 's3://{BUCKET}/never/' WITH (format = 'AVRO')", "AVRO"),
    ],
)
def test_a_format_that_is_not_written_locally_is_refused(athena: Athena, sql: str, form: str) -> None:
    assert athena.reason(sql) == f"NOT_SUPPORTED: writing {form} is not supported locally"


def test_iceberg_is_refused(athena: Athena) -> None:
    create = (
        f"CREATE TABLE ice (a int) LOCATION 's3://{BUCKET}/ice/' TBLPROPERTIES ('table_type' = 'ICEBERG')"
    )

    assert athena.reason(create) == "NOT_SUPPORTED: an Iceberg table is not supported locally"
    assert "table_type = 'ICEBERG'" in athena.reason(
        "CREATE TABLE ice WITH (table_type = 'ICEBERG', is_external = false) AS SELECT 1 AS x"
    )


def test_columns_are_added_and_replaced(athena: Athena, database: str) -> None:
    context = {"Database": database}
    athena.run("CREATE TABLE t AS SELECT 1 AS a", context=context)

    athena.run("ALTER TABLE t ADD COLUMNS (b string COMMENT 'new', c double)", context=context)
    athena.run("INSERT INTO t VALUES (2, 'x', 0.5)", context=context)

    assert athena.rows("SELECT * FROM t ORDER BY a", context=context) == [
        ["a", "b", "c"],
        ["1", None, None],
        ["2", "x", "0.5"],
    ]
    athena.run("ALTER TABLE t REPLACE COLUMNS (b string)", context=context)
    assert athena.rows("SHOW COLUMNS IN t", context=context) == [["b" + " " * 19]]


def test_properties_are_set_and_shown(athena: Athena, database: str) -> None:
    table = f"{database}.t"
    athena.run(f"CREATE EXTERNAL TABLE {table} (a int) LOCATION 's3://{BUCKET}/{database}/'")

    athena.run(f"ALTER TABLE {table} SET TBLPROPERTIES ('owner' = 'sales', 'note' = 'x')")

    assert ["owner\tsales"] in athena.rows(f"SHOW TBLPROPERTIES {table}")
    assert athena.rows(f"SHOW TBLPROPERTIES {table} ('note')") == [["x"]]


def test_a_table_is_shown_as_its_statement(athena: Athena, database: str) -> None:
    athena.run(
        f"CREATE EXTERNAL TABLE {database}.t (a int COMMENT 'the key', b array<string>) "
        "PARTITIONED BY (p string) "
        f"ROW FORMAT DELIMITED FIELDS TERMINATED BY ',' LOCATION 's3://{BUCKET}/{database}/' "
        "TBLPROPERTIES ('skip.header.line.count' = '1')"
    )

    shown = [row[0] for row in athena.rows(f"SHOW CREATE TABLE {database}.t")]

    assert shown[:11] == [
        f"CREATE EXTERNAL TABLE `{database}.t`(",
        "  `a` int COMMENT 'the key', ",
        "  `b` array<string>)",
        "PARTITIONED BY ( ",
        "  `p` string)",
        "ROW FORMAT SERDE ",
        "  'org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe' ",
        "WITH SERDEPROPERTIES ( ",
        "  'serialization.format'=',', ",
        "  'field.delim'=',') ",
        "STORED AS INPUTFORMAT ",
    ]
    assert f"  's3://{BUCKET}/{database}'" in shown


def test_tables_and_databases_are_listed_by_pattern(athena: Athena, database: str) -> None:
    for table in ("flights", "flight_days", "planes"):
        athena.run(f"CREATE EXTERNAL TABLE {database}.{table} (a int) LOCATION 's3://{BUCKET}/{database}/'")

    assert athena.rows(f"SHOW TABLES IN {database} 'flight.*'") == [["flight_days"], ["flights"]]
    assert athena.rows(f"SHOW TABLES IN {database} LIKE '*s'") == [["flight_days"], ["flights"], ["planes"]]
    assert athena.rows(f"SHOW DATABASES LIKE '{database}'") == [[database]]
    assert athena.rows("SHOW DATABASES LIKE 'tables_and_*'") == []
    assert athena.rows("SHOW SCHEMAS LIKE 'tables_and_.*'") == [[database]]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("format = 'JSON', compression = 'NONE'", '{"n":1,"s":"a"}'),
        ("format = 'TEXTFILE', field_delimiter = ',', compression = 'NONE'", "1,a"),
    ],
)
def test_an_unload_writes_text(athena: Athena, options: str, line: str) -> None:
    place = "unloaded-" + options.split("'")[1].lower()

    query = athena.run(f"UNLOAD (SELECT 1 AS n, 'a' AS s) TO 's3://{BUCKET}/{place}/' WITH ({options})")

    manifest = athena.object(query["Statistics"]["DataManifestLocation"]).split()
    assert [athena.object(uri) for uri in manifest] == [line + "\n"]


@pytest.mark.parametrize("form", ["PARQUET", "JSON", "TEXTFILE", "ORC"])
def test_an_unload_divides_rows_by_partition_and_writes_only_to_an_empty_place(
    athena: Athena, form: str
) -> None:
    place = f"s3://{BUCKET}/partitioned-{form.lower()}/"
    sql = (
        "UNLOAD (SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS v(n, p)) "
        f"TO '{place}' WITH (format = '{form}', partitioned_by = ARRAY['p'])"
    )

    query = athena.run(sql)

    manifest = athena.object(query["Statistics"]["DataManifestLocation"]).split()
    assert [uri.split("/")[4] for uri in manifest] == ["p=a", "p=b"]
    assert athena.reason(sql).startswith("HIVE_PATH_ALREADY_EXISTS: ")


@pytest.mark.parametrize(
    ("compression", "kind"),
    [("", "ZLIB"), (", compression = 'SNAPPY'", "SNAPPY"), (", compression = 'NONE'", "NONE")],
)
def test_an_unload_writes_orc(athena: Athena, compression: str, kind: str) -> None:
    place = f"s3://{BUCKET}/orc-{kind.lower()}/"
    select = (
        "SELECT 1 AS n, CAST(NULL AS varchar) AS s, 1.50 AS d, DATE '2024-02-29' AS day, "
        "TIMESTAMP '2024-02-29 10:11:12.345' AS t, ARRAY[1, NULL] AS a, MAP(ARRAY['k'], ARRAY[2]) AS m, "
        "CAST(ROW(3) AS ROW(x integer)) AS r"
    )

    query = athena.run(f"UNLOAD ({select}) TO '{place}' WITH (format = 'ORC'{compression})")

    (uri,) = athena.object(query["Statistics"]["DataManifestLocation"]).split()
    body = athena.s3.get_object(Bucket=BUCKET, Key=uri.removeprefix(f"s3://{BUCKET}/"))["Body"].read()
    reader = pyorc.Reader(io.BytesIO(body), struct_repr=pyorc.StructRepr.DICT)
    assert reader.compression == pyorc.CompressionKind[kind]
    assert str(reader.schema) == (
        "struct<n:int,s:string,d:decimal(3,2),day:date,t:timestamp,a:array<int>,m:map<varchar(1),int>,r:struct<x:int>>"
    )
    (row,) = list(reader)
    assert row.pop("t").isoformat() == "2024-02-29T10:11:12.345000+00:00"
    assert row == {
        "n": 1,
        "s": None,
        "d": Decimal("1.50"),
        "day": date(2024, 2, 29),
        "a": [1, None],
        "m": {"k": 2},
        "r": {"x": 3},
    }


def test_text_that_does_not_fit_its_column_is_null(athena: Athena) -> None:
    athena.put("lazy/rows.csv", "id,price,day\n1,2.50,2024-01-31\nx,y,z\n1.5,\\N,2024-1-1\n")
    athena.run(
        "CREATE EXTERNAL TABLE lazy (id int, price decimal(10,2), day date) ROW FORMAT DELIMITED "
        "FIELDS TERMINATED BY ',' LOCATION 's3://lake/lazy/' TBLPROPERTIES ('skip.header.line.count' = '1')"
    )

    assert athena.rows("SELECT * FROM lazy ORDER BY id NULLS LAST") == [
        ["id", "price", "day"],
        ["1", "2.50", "2024-01-31"],
        [None, None, None],
        [None, None, None],
    ]


def test_quoted_csv_is_read_by_its_own_serde(athena: Athena) -> None:
    athena.put("quoted/rows.csv", '"1";"a;""b"""\n"2";""\n')
    athena.run(
        "CREATE EXTERNAL TABLE quoted (id bigint, s string) ROW FORMAT SERDE "
        "'org.apache.hadoop.hive.serde2.OpenCSVSerde' WITH SERDEPROPERTIES ('separatorChar' = ';', "
        "'quoteChar' = '\"') LOCATION 's3://lake/quoted/'"
    )

    assert athena.rows("SELECT * FROM quoted ORDER BY id") == [["id", "s"], ["1", 'a;"b"'], ["2", ""]]


@pytest.mark.parametrize(
    ("ddl", "reason"),
    [
        ("(a int) STORED AS ORC", "OrcSerde"),
        ("(a int) STORED AS AVRO", "AvroSerDe"),
        (
            (
                "(a string) ROW FORMAT SERDE 'org.apache.hadoop.hive.serde2.RegexSerDe' "
                "WITH SERDEPROPERTIES ('input.regex' = '(.*)')"
            ),
            "RegexSerDe",
        ),
        ("(a int) TBLPROPERTIES ('projection.enabled' = 'true')", "partition projection"),
    ],
)
def test_a_table_that_cannot_be_read_locally_is_refused(athena: Athena, ddl: str, reason: str) -> None:
    table = f"unread_{abs(hash(ddl))}"
    columns, _, properties = ddl.partition(" TBLPROPERTIES ")
    ending = f" TBLPROPERTIES {properties}" if properties else ""
    athena.run(f"CREATE EXTERNAL TABLE {table} {columns} LOCATION 's3://lake/unread/'{ending}")

    reason_given = athena.reason(f"SELECT * FROM {table}")

    assert reason_given.startswith("NOT_SUPPORTED: ")
    assert reason in reason_given


def test_a_file_of_another_type_than_its_column_fails_the_query(athena: Athena) -> None:
    query = athena.run("CREATE TABLE typed AS SELECT 'text' AS a")
    location = query["ResultConfiguration"]["OutputLocation"]
    athena.run(f"CREATE EXTERNAL TABLE mistyped (a int) STORED AS PARQUET LOCATION '{location}'")

    assert athena.reason("SELECT * FROM mistyped").startswith("HIVE_BAD_DATA: Field a's type VARCHAR")


def test_a_prepared_statement_is_executed_with_its_values(athena: Athena) -> None:
    athena.run("PREPARE greater FROM SELECT n FROM (VALUES 1, 2, 3) AS v(n) WHERE n > ?")

    assert athena.rows("EXECUTE greater USING 2") == [["n"], ["3"]]
    assert athena.rows("EXECUTE greater", ExecutionParameters=["1"]) == [["n"], ["2"], ["3"]]
    athena.run("DEALLOCATE PREPARE greater")
    with pytest.raises(ClientError, match="PreparedStatement greater was not found"):
        athena.start("EXECUTE greater USING 2")


@pytest.mark.parametrize(
    ("select", "reason"),
    [
        ("SELECT 1", "MISSING_COLUMN_NAME: line 1:1: Column name not specified at position 1"),
        (
            "SELECT 1 AS a, 2 AS a",
            "DUPLICATE_COLUMN_NAME: line 1:1: Column name 'a' specified more than once",
        ),
        (
            "SELECT current_timestamp AS now",
            "NOT_SUPPORTED: Unsupported Hive type: timestamp(3) with time zone",
        ),
        (
            "SELECT ARRAY[ROW(1, 'x')] AS rows",
            "NOT_SUPPORTED: Anonymous row type is not supported in Hive. Please give each field a name: ",
        ),
        ("SELECT NULL AS nothing", "COLUMN_TYPE_UNKNOWN: line 1:1: Column type is unknown"),
    ],
)
def test_a_column_needs_a_name_and_a_type_that_hive_has(athena: Athena, select: str, reason: str) -> None:
    assert athena.reason(f"CREATE TABLE never AS {select}").startswith(reason)
