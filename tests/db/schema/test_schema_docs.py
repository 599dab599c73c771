"""docs/reference/schema.md agrees with the database; UPDATE_DOCS=1 regenerates the page."""

import os
import re
from pathlib import Path

import pytest
from httpx import AsyncClient
from support.databases import Execute

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "schema.md"

RELATIONS = """
    SELECT relname, obj_description(oid) AS comment FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = $1 AND relname <> 'alembic_version'
    ORDER BY relname COLLATE "C" """

COLUMNS = """
    SELECT attname, format_type(atttypid, atttypmod) AS type, attnotnull,
        col_description(attrelid, attnum) AS comment
    FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped
    ORDER BY attnum"""

TYPES = {"timestamp with time zone": "timestamptz", "timestamp without time zone": "timestamp"}


async def render_views(execute: Execute) -> str:
    lines = []
    for view in await execute(RELATIONS, b"v"):
        columns = await execute(COLUMNS, view["relname"])
        column_list = ", ".join(f"`{row['attname']}` {short(row['type'])}" for row in columns)
        lines += [f"### {view['relname']}", "", f"{view['comment']}", "", f"{column_list}.", ""]
    return "\n".join(lines)


async def render_tables(execute: Execute) -> str:
    lines = []
    for table in await execute(RELATIONS, b"r"):
        lines += [f"### {table['relname']}", "", table["comment"], ""]
        lines += ["| column | type | |", "|---|---|---|"]
        for row in await execute(COLUMNS, table["relname"]):
            kind = short(row["type"]) + (" not null" if row["attnotnull"] else "")
            lines.append(f"| `{row['attname']}` | {kind} | {row['comment']} |")
        lines.append("")
    return "\n".join(lines)


def short(sql_type: str) -> str:
    return TYPES.get(sql_type, sql_type)


def replace_section(page: str, name: str, text: str) -> str:
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    return re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n\n{text}{end}", page, flags=re.DOTALL)


async def test_schema_page_shows_database_comments(execute: Execute, client: AsyncClient) -> None:
    page = PAGE.read_text()
    rendered = replace_section(page, "views", await render_views(execute) + "\n")
    rendered = replace_section(rendered, "tables", await render_tables(execute) + "\n")
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(rendered)
    assert PAGE.read_text() == rendered, "run this test with UPDATE_DOCS=1 and commit the page"


@pytest.mark.parametrize("query", re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL))
async def test_sql_example_of_page_runs(execute: Execute, client: AsyncClient, query: str) -> None:
    if "CREATE ROLE" in query:
        # Rolled back, because roles exist on the whole server, which all test processes share.
        script = query.replace("CREATE ROLE", "BEGIN; CREATE ROLE") + "ROLLBACK;"
        for statement in filter(str.strip, script.split(";")):
            await execute(statement)
    else:
        await execute(query)
