"""A session of PyAthena; prints what it received as JSON. Run by its environment's Python."""

import json
import os
from datetime import date
from urllib.parse import quote_plus

import sqlalchemy
from pyathena import connect
from pyathena.async_cursor import AsyncCursor
from pyathena.cursor import DictCursor
from pyathena.error import DatabaseError, OperationalError
from pyathena.pandas.cursor import PandasCursor
from sqlalchemy import Column

SCRATCH = os.environ["SCRATCH"]
connection = connect(s3_staging_dir=SCRATCH, schema_name="flights", poll_interval=0.05)
cursor = connection.cursor()


def query(sql: str, *parameters: object, **options: object) -> list[tuple[object, ...]]:
    return cursor.execute(sql, *parameters, **options).fetchall()


def failure(sql: str) -> tuple[str, str]:
    try:
        query(sql)
    except (OperationalError, DatabaseError) as error:
        return type(error).__name__, str(error)
    return "", ""


report: dict[str, object] = {
    "rows": query("SELECT carrier, name FROM airlines ORDER BY carrier LIMIT 2"),
    "columns": [(column[0], column[1]) for column in cursor.description],
    "state": cursor.state,
    "all": len(query("SELECT year FROM flights LIMIT 3500")),
    "unnamed": query("SELECT count(*), 1 FROM airlines"),
    "unnamed columns": [column[0] for column in cursor.description],
    "named parameters": query("SELECT name FROM airlines WHERE carrier = %(carrier)s", {"carrier": "AA"}),
    "execution parameters": query(
        "SELECT name FROM airlines WHERE carrier = ?", ["'AA'"], paramstyle="qmark"
    ),
    "dictionaries": connection.cursor(DictCursor).execute("SELECT 1 AS one").fetchall(),
    "values": [
        str(value)
        for value in query(
            "SELECT DECIMAL '1.50', DATE '2026-11-25', TIMESTAMP '2026-11-25 01:02:03.456', true, X'00ff', "
            "ARRAY[1, 2], CAST(NULL AS integer)"
        )[0]
    ],
    "failure": failure("SELECT nope FROM airlines"),
    "refusal": failure("SELEKT 1"),
    "databases": [database.name for database in cursor.list_databases("awsdatacatalog")],
    "tables": [table.name for table in cursor.list_table_metadata(schema_name="flights")],
    "metadata": [
        (column.name, column.type)
        for column in cursor.get_table_metadata("airlines", schema_name="flights").columns
    ],
}

cursor.execute("SELECT n FROM UNNEST(sequence(1, 2500)) AS t(n)")
report["pages"] = [len(cursor.fetchmany(1000)), cursor.fetchone(), len(cursor.fetchall())]

query(
    "CREATE EXTERNAL TABLE scratch.typed (n int, text string) ROW FORMAT DELIMITED FIELDS TERMINATED BY ',' "
    f"LOCATION '{SCRATCH}typed/' TBLPROPERTIES ('owner'='team')"
)
query("INSERT INTO scratch.typed SELECT 1, 'x'")
report["inserted"] = cursor.rowcount
query("ALTER TABLE scratch.typed SET TBLPROPERTIES ('owner'='other')")
query("ALTER TABLE scratch.typed ADD COLUMNS (more int)")
report["altered"] = query("SELECT * FROM scratch.typed")
report["properties"] = query("SHOW TBLPROPERTIES scratch.typed('owner')")
report["described"] = [row[0].split() for row in query("DESCRIBE `scratch`.`typed`")]
report["created"] = query("CREATE TABLE scratch.copied AS SELECT carrier FROM airlines")
query("CREATE OR REPLACE VIEW scratch.seen AS SELECT count(*) AS n FROM scratch.copied")
report["view"] = query("SELECT n FROM scratch.seen")
query("DROP VIEW scratch.seen")
query("DROP TABLE scratch.copied")
query("DROP TABLE scratch.typed")
report["dropped"] = query("SHOW TABLES IN scratch 'typed|copied|seen'")

asynchronous = connection.cursor(AsyncCursor)
slow = "SELECT count(*) FROM flights a, flights b, flights c WHERE a.dep_time + b.dep_time > c.dep_time"
query_id, future = asynchronous.execute(slow)
asynchronous.cancel(query_id).result()
report["cancelled"] = future.result().state
frames = connection.cursor(PandasCursor)
frame = frames.execute(
    "SELECT n, TIMESTAMP '2026-11-25 01:02:03' AS t FROM UNNEST(sequence(1, 3)) AS t(n)"
).as_pandas()
report["frame"] = [frame["n"].tolist(), str(frame["t"][0])]

# SQLAlchemy's dialect.
engine = sqlalchemy.create_engine(
    "awsathena+rest://@athena.us-east-1.amazonaws.com:443/flights"
    f"?s3_staging_dir={quote_plus(SCRATCH)}&poll_interval=0.05"
)
inspector = sqlalchemy.inspect(engine)
report["inspected"] = {
    "schemas": inspector.get_schema_names(),
    "tables": inspector.get_table_names("flights"),
    "has": [inspector.has_table(name, "flights") for name in ("airlines", "missing")],
    "location": inspector.get_table_options("airlines", "flights")["awsathena_location"],
}
with engine.connect() as database:
    airlines = sqlalchemy.Table("airlines", sqlalchemy.MetaData(), autoload_with=database, schema="flights")
    found = sqlalchemy.select(airlines.c.name).where(airlines.c.carrier == "AA")
    report["reflected"] = database.execute(found).scalar()
    days = sqlalchemy.Table(
        "days",
        sqlalchemy.MetaData(),
        Column("n", sqlalchemy.Integer),
        Column("day", sqlalchemy.Date, awsathena_partition=True),
        schema="scratch",
        awsathena_location=f"{SCRATCH}days/",
        awsathena_file_format="PARQUET",
    )
    days.create(database)
    for number in (1, 2):
        database.execute(days.insert().values(n=number, day=date(2026, 11, number)))
    report["inserted rows"] = [
        str(row.day) for row in database.execute(sqlalchemy.select(days).order_by("n"))
    ]
    days.drop(database)
print(json.dumps(report))
