"""Reads the tables of documents."""


def rows(text: str, header: str) -> list[list[str]]:
    """The cells of each row of the tables whose first column is called `header`."""
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in text.splitlines()
        if line.startswith("| ") and not line.startswith((f"| {header}", "| ---"))
    ]
