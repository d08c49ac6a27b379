"""Whether a SQL statement only reads, without parsing it."""

# Statements that only read start with one of these. EXECUTE hides what it runs, so it does not count.
_READS = frozenset({"SELECT", "WITH", "VALUES", "TABLE", "SHOW", "DESCRIBE", "DESC"})


def only_reads(sql: str) -> bool:
    """Whether the statement certainly writes nothing. Linear in the length of its leading comments.

    EXPLAIN runs nothing; EXPLAIN ANALYZE runs what it explains, and counts as a write.
    """
    word, rest = _first_word(sql, 0)
    if word == "EXPLAIN":
        following, _ = _first_word(sql, rest)
        return following != "ANALYZE"
    return word in _READS


def _first_word(sql: str, start: int) -> tuple[str, int]:
    """The first word from `start` in upper case, and where it ends; brackets and comments are skipped."""
    at = start
    while at < len(sql):
        if sql[at].isspace() or sql[at] == "(":
            at += 1
        elif sql.startswith("--", at):
            # A carriage return alone ends the comment too (SIMPLE_COMMENT in Trino's grammar, SqlBase.g4).
            end = sql.find("\n", at)
            end = len(sql) if end < 0 else end
            carriage_return = sql.find("\r", at, end)
            at = 1 + (end if carriage_return < 0 else carriage_return)
        elif sql.startswith("/*", at):
            end = sql.find("*/", at + 2)
            at = len(sql) if end < 0 else end + 2
        else:
            break
    end = at
    while end < len(sql) and (sql[end].isalnum() or sql[end] == "_"):
        end += 1
    return sql[at:end].upper(), end
