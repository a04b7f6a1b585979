"""What every client does, told line by line on standard output as JSON; for the clients that are Python.

write → read → list → an object of several parts, where the client has objects → a write that its role does not allow → wait until the session is over → read again → delete → list.
A line `{"step": "wait"}` is answered with one line on standard input once the token file is new and the session over.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

BUCKET = os.environ["CLIENT_BUCKET"]
ALLOWED = os.environ["CLIENT_ALLOWED"]  # a prefix the role may use, with a slash at its end
CLOSED = os.environ["CLIENT_CLOSED"]  # one it may not
TEXT = b"moved without a key"
LARGE = bytes(range(256)) * 9 * 4096  # 9 MiB: more than one part


def tell(step: str, **more: Any) -> None:
    print(json.dumps({"step": step, **more}), flush=True)


def run(
    *,
    version: str,
    write: Callable[[str, bytes], object],
    read: Callable[[str], bytes],
    names: Callable[[str], list[str]],
    delete: Callable[[str], object],
    has_objects: bool = True,
) -> None:
    """Each function takes a key, or the prefix `names` lists; `names` gives whole keys."""
    tell("version", version=version)
    write(f"{ALLOWED}one", TEXT)
    tell("write")
    tell("read", text=read(f"{ALLOWED}one").decode())
    tell("list", names=names(ALLOWED))
    if has_objects:
        write(f"{ALLOWED}large", LARGE)
        tell("large", digest=hashlib.sha256(read(f"{ALLOWED}large")).hexdigest())
        delete(f"{ALLOWED}large")
    try:
        write(f"{CLOSED}one", TEXT)
    except Exception as error:
        tell("refused", error=words(error))
    else:
        tell("refused", error=None)
    tell("wait")
    sys.stdin.readline()
    tell("read again", text=read(f"{ALLOWED}one").decode())
    delete(f"{ALLOWED}one")
    tell("delete", names=names(ALLOWED))


def words(error: BaseException | None) -> str:
    """An error as a person sees it, with what caused it."""
    out: list[str] = []
    while error is not None:
        out.append(f"{type(error).__name__}: {error}")
        error = error.__cause__
    return " <- ".join(out)
