# SPDX-License-Identifier: GPL-3.0-or-later
"""HTML and SVG as values: text is escaped unless it is markup already, so nothing from a log becomes a tag."""

from html import escape


class Markup(str):
    """Text that is markup. Only this module makes it from parts."""

    __slots__ = ()


_VOID = frozenset({"meta", "br", "hr", "img", "link"})


def el(tag: str, *children: str | int | float | None, **attributes: str | int | float | bool | None) -> Markup:
    """An element. `class_` and `for_` lose their underscore, others turn it into `-`; None and False leave it out."""
    said = "".join(
        f" {_name(name)}" if value is True else f' {_name(name)}="{escape(_number(value))}"'
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    if tag in _VOID:
        return Markup(f"<{tag}{said}>")
    return Markup(f"<{tag}{said}>{join(*children)}</{tag}>")


def join(*children: str | int | float | None) -> Markup:
    """Several in a row."""
    return Markup("".join(_child(child) for child in children if child is not None))


def raw(text: str) -> Markup:
    """Markup that is written in this program."""
    return Markup(text)


def _child(child: str | int | float) -> str:
    return child if isinstance(child, Markup) else escape(_number(child), quote=False)


def _number(value: str | int | float) -> str:
    # Two decimals are a hundredth of a unit of the picture: more would only make the file larger.
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _name(name: str) -> str:
    if name == "viewBox" or name.startswith("pattern"):
        return name
    return name.rstrip("_").replace("_", "-")
