"""A Job's name, from the sync and the attempt's number alone: launching twice is launching once.

What is asked of it: the same input gives the same name; two inputs never the same; at most 52 characters, since a pod's name adds six
and both have to be DNS labels (RFC 1123: 63 characters, lower-case letters, digits and '-', a letter first); a person recognises it.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

LONGEST: Final = 52
DIGEST: Final = 10  # characters of the hash: 40 bits
LABEL: Final = 63  # characters of a label's value


def job_name(sync: str, attempt: int) -> str:
    digest = hashlib.sha256(f"{sync}\n{attempt}".encode()).hexdigest()[:DIGEST]
    tail = f"-{digest}-{attempt}"
    head = re.sub(r"[^a-z0-9]+", "-", sync.lower()).strip("-")
    head = f"tow-{head}"[: LONGEST - len(tail)].rstrip("-")
    return head + tail


def label_value(text: str) -> str:
    """The text as a label's value: itself where it can be, else shortened with a hash that keeps it apart from others."""
    if re.fullmatch(r"([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?", text) and len(text) <= LABEL:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:DIGEST]
    head = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[: LABEL - DIGEST - 1].rstrip("-")
    return f"{head}-{digest}" if head else digest
