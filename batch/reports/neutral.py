"""Text that comes from events, made harmless before it enters a page that somebody else's code draws.

Whoever sends an event chooses its category values, and a report carries them into a person's browser. So no value
reaches it with a character that means something to HTML, to a script or to a chart's labels, whatever the drawing code
does with it. Look-alikes stand in their place rather than entities, because nobody knows how often a page decodes a
text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_LOOK_ALIKES = str.maketrans(
    {"<": "‹", ">": "›", "&": "＆", '"': "″", "'": "′", "`": "ˋ", "\\": "＼", "{": "｛", "}": "｝", "$": "＄"}
)
_MOST_CHARACTERS = 80


def neutral_text(text: str) -> str:
    """Return ``text`` in one line of at most 80 characters, none of which means anything to a browser.

    Examples
    --------
    >>> neutral_text("</script><b onclick='x'>")
    '‹/script›‹b onclick=′x′›'
    """
    plain = "".join(letter if letter.isprintable() else "·" for letter in text.translate(_LOOK_ALIKES))
    return plain if len(plain) <= _MOST_CHARACTERS else plain[: _MOST_CHARACTERS - 1] + "…"


def neutral_names(names: Iterable[str]) -> Mapping[str, str]:
    """Return a harmless text for each of ``names``; different names get different texts.

    Examples
    --------
    >>> dict(neutral_names(["a<b", "a‹b"]))
    {'a<b': 'a‹b', 'a‹b': 'a‹b (2)'}
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(set(names)):
        base = text = neutral_text(name)
        number = 1
        while text in taken:
            number += 1
            text = f"{base} ({number})"
        taken.add(text)
        found[name] = text
    return found
