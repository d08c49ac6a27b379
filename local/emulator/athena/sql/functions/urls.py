"""Functions of URLs, with the components of RFC 3986."""

from local.emulator.athena.sql.signatures import read
from local.emulator.athena.sql.values import literal

_URL = r"^(?:([^:/?#]+):)?(?://(?:[^/?#@]*@)?(\[[^\]]*\]|[^/?#:]*)(?::([0-9]*))?)?([^?#]*)(?:\?([^#]*))?(?:#(.*))?"
_PARAMETER = "concat('(?:^|&)', regexp_escape($1), '(?:=([^&]*))?(?:&|$)')"


def _part(group: int) -> str:
    return f"regexp_extract($0, {literal(_URL)}, {group})"


SIGNATURES = read(
    f"""
url_extract_protocol(varchar) -> varchar = {_part(1)}
url_extract_host(varchar) -> varchar = {_part(2)}
url_extract_port(varchar) -> bigint = TRY_CAST({_part(3)} AS BIGINT)
url_extract_path(varchar) -> varchar = url_decode({_part(4)})
url_extract_query(varchar) -> varchar = {_part(5)}
url_extract_fragment(varchar) -> varchar = {_part(6)}
url_extract_parameter(varchar, varchar) -> varchar = CASE WHEN regexp_matches({_part(5)}, {_PARAMETER}) THEN url_decode(replace(regexp_extract({_part(5)}, {_PARAMETER}, 1), '+', ' ')) END
url_decode(varchar) -> varchar = url_decode(replace($0, '+', ' '))
"""
)
