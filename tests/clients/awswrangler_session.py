"""A session of awswrangler; prints what it received as JSON. Run by its environment's Python."""

import json
import os

import awswrangler as wr
import pandas as pd

SCRATCH = os.environ["SCRATCH"]


def query(sql: str, **options: object) -> list[list[object]]:
    settings = {"ctas_approach": False, "s3_output": f"{SCRATCH}results/"} | options
    frame = wr.athena.read_sql_query(sql, database="flights", **settings)
    return frame.to_numpy().tolist()


def failure(sql: str) -> str:
    try:
        query(sql)
    except wr.exceptions.QueryFailed as error:
        return str(error)
    return ""


airlines = "SELECT carrier, name FROM airlines ORDER BY carrier LIMIT 2"
report: dict[str, object] = {
    "csv": query(airlines),
    "ctas": sorted(query(airlines, ctas_approach=True)),
    "unload": sorted(
        query(airlines, ctas_approach=False, unload_approach=True, s3_output=f"{SCRATCH}unload/")
    ),
    "workgroup": query(airlines, workgroup="AthenaQueries", s3_output=None),
    "unnamed": query("SELECT count(*) FROM airlines"),
    "parameters": query("SELECT name FROM airlines WHERE carrier = ?", params=["'AA'"], paramstyle="qmark"),
    "chunks": [
        len(chunk)
        for chunk in wr.athena.read_sql_query(
            "SELECT year FROM flights LIMIT 2500",
            database="flights",
            ctas_approach=False,
            chunksize=1000,
            s3_output=SCRATCH,
        )
    ],
    # DESCRIBE with quoted names.
    "described": wr.athena.describe_table("airlines", database="flights", s3_output=SCRATCH)["Type"].tolist(),
    "create": wr.athena.show_create_table("airlines", database="flights", s3_output=SCRATCH),
    "failure": failure("SELECT nope FROM airlines"),
    "databases": wr.catalog.databases()["Database"].tolist(),
    "tables": wr.catalog.tables(database="flights")["Table"].tolist(),
    "types": wr.catalog.get_table_types(database="flights", table="airlines"),
}

frame = pd.DataFrame({"n": [1, 2], "text": ["x", "y"], "part": ["u", "v"]})
for mode in ("overwrite", "append"):
    wr.s3.to_parquet(
        frame,
        path=f"{SCRATCH}written/",
        dataset=True,
        database="scratch",
        table="written",
        mode=mode,
        partition_cols=["part"],
    )
wr.catalog.upsert_table_parameters({"owner": "team"}, "scratch", "written")
report["owner"] = wr.catalog.get_table_parameters("scratch", "written")["owner"]
report["found"] = [table["Name"] for table in wr.catalog.search_tables("part")]
report["partitions"] = sorted(wr.catalog.get_partitions("scratch", "written").values())
report["written"] = len(wr.athena.read_sql_table("written", database="scratch", s3_output=SCRATCH))
report["repaired"] = wr.athena.repair_table("written", database="scratch", s3_output=SCRATCH)
report["deleted"] = wr.catalog.delete_table_if_exists(database="scratch", table="written")
print(json.dumps(report))
