"""Text of strangers on a person's terminal: an event's strings may hold codes that the terminal obeys."""

from __future__ import annotations


def plain(text: str, *, keep: str = "\n\t") -> str:
    r"""Return ``text`` with everything invisible but blanks and ``keep`` spelled out.

    That is control codes, marks that reverse the direction of reading, halves of characters.

    >>> plain("red: \x1b[31m")
    'red: \\x1b[31m'
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode("ascii") for char in text
    )
