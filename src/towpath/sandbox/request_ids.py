"""The ids AWS gives its answers, which people quote and nobody guards: from a generator that needs no system call for each."""

from __future__ import annotations

import random
from typing import Final

_RANDOM: Final = random.Random()  # noqa: S311 - no secret comes from it; and its own, since the emulator seeds Python's

S3Headers = list[tuple[str, str]]


def hexadecimal(digits: int) -> str:
    return f"{_RANDOM.getrandbits(4 * digits):0{digits}x}"


def uuid() -> str:
    """Shaped as a random UUID (RFC 9562, version 4)."""
    text = hexadecimal(32)
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[int(text[16], 16) % 4]}{text[17:20]}-{text[20:]}"


def of_s3() -> S3Headers:
    """`x-amz-request-id` and `x-amz-id-2`, which S3's support asks for together."""
    text = hexadecimal(48).upper()
    return [("x-amz-request-id", text[:16]), ("x-amz-id-2", text[16:])]
