# SPDX-License-Identifier: GPL-3.0-or-later
"""Markdown for the reference pages."""

import ast
import inspect
from collections.abc import Sequence
from enum import Enum
from textwrap import dedent


def code(text: str) -> str:
    """As code; a backtick inside needs two around it."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def paragraph(text: str | None) -> str:
    """A docstring as one paragraph a block, ended by a newline."""
    blocks = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(block.split()) for block in blocks) + "\n"


def cell(text: str) -> str:
    """One cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, ended by a newline."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell(text) for text in line)} |\n" for line in lines)


def member_docs(enum: type[Enum]) -> dict[str, str]:
    """The text under each member of an enum, by the member's value; empty where a member has none.

    Python keeps no docstrings of attributes, so this reads the source.
    """
    body = ast.parse(dedent(inspect.getsource(enum))).body[0]
    if not isinstance(body, ast.ClassDef):
        raise TypeError(f"{enum.__name__} is not a class in its source")
    docs = {str(member.value): "" for member in enum}
    for statement, following in zip(body.body, [*body.body[1:], ast.Pass()], strict=True):
        if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
            continue
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            docs[str(enum[statement.targets[0].id].value)] = inspect.cleandoc(str(following.value.value))
    return docs
