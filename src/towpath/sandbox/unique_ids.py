"""Unique ids as IAM makes them: four letters for the kind, then seventeen characters.

Source: "IAM identifiers", IAM User Guide, unique identifiers. The emulator gives roles theirs, and everything else some other text;
what it gave is the same text for as long as the thing lives, so it is only spelt anew on the way out.
"""

from __future__ import annotations

import re
from typing import Final

PREFIXES: Final = {"UserId": "AIDA", "GroupId": "AGPA", "InstanceProfileId": "AIPA", "PolicyId": "ANPA"}

_ELEMENT: Final = re.compile(rb"<(UserId|GroupId|InstanceProfileId|PolicyId)>([A-Za-z0-9]{20,21})</")


def spelt(kind: str, text: str) -> str:
    """`kind` is the element's name: UserId, …"""
    prefix = PREFIXES[kind]
    return text if text.startswith(prefix) and len(text) == 21 else prefix + text[-17:].upper()


def in_answer(body: bytes) -> bytes:
    """An answer of IAM's with every unique id in it as IAM spells it."""

    def replaced(match: re.Match[bytes]) -> bytes:
        kind = match[1].decode()
        return f"<{kind}>{spelt(kind, match[2].decode())}</".encode()

    return _ELEMENT.sub(replaced, body)
