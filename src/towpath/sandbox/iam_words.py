"""IAM's words for what is not there, where the emulator has words of its own.

Source: NoSuchEntity as IAM's own answers are quoted in the SDKs' public issue threads: "The role with name NAME cannot be found."
"""

from __future__ import annotations

import re
from typing import Final

_ROLE: Final = re.compile(rb"<Message>Role ([^\s<]+) not found</Message>")


def in_answer(body: bytes) -> bytes:
    """The body of an IAM answer, its refusals in AWS's words."""
    return _ROLE.sub(rb"<Message>The role with name \1 cannot be found.</Message>", body)
