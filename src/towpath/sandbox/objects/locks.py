"""Object Lock: what keeps a version from being deleted, until when, and who may pass it by.

Source: "Locking objects with Object Lock", "Configuring Object Lock" (S3 User Guide). Whether a caller may pass by a governance lock is
judged before (s3:BypassGovernanceRetention).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from xml.etree.ElementTree import Element

from towpath.sandbox.errors import AwsError
from towpath.sandbox.objects import xml

MODE, UNTIL, HOLD = "x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date", "x-amz-object-lock-legal-hold"
LONGEST_DEFAULT: Final = 36_500  # days of a bucket's default retention ("Object Lock considerations", S3 User Guide)
BYPASS: Final = "x-amz-bypass-governance-retention"
MODES: Final = frozenset({"GOVERNANCE", "COMPLIANCE"})
GOVERNANCE: Final = "GOVERNANCE"


def missing() -> AwsError:
    return AwsError("InvalidRequest", "Bucket is missing Object Lock Configuration", 400)


def from_headers(headers: Mapping[str, str], default: Mapping[str, Any] | None, now: datetime) -> dict[str, str]:
    """The lock of a new object: as its headers ask, else the bucket's default (`mode` and `days`). Raises AwsError."""
    found: dict[str, str] = {}
    mode, until = headers.get(MODE), headers.get(UNTIL)
    if (mode is None) != (until is None):
        raise AwsError(
            "InvalidArgument",
            "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
            400,
        )
    if mode is not None and until is not None:
        found = {"mode": _mode(mode), "until": _date(until, now)}
    elif default:
        found = {"mode": default["mode"], "until": (now + timedelta(days=default["days"])).isoformat()}
    if HOLD in headers:
        found["hold"] = _hold(headers[HOLD])
    return found


def response_headers(lock: Mapping[str, str]) -> list[tuple[str, str]]:
    out = [(MODE, lock["mode"]), (UNTIL, _shown(lock["until"]))] if "mode" in lock else []
    return [*out, *([(HOLD, lock["hold"])] if "hold" in lock else [])]


def check_delete(lock: Mapping[str, str], now: datetime, *, bypass: bool) -> None:
    """Raises AwsError AccessDenied for a version that is kept."""
    if lock.get("hold") == "ON" or (_holds(lock, now) and not (bypass and lock["mode"] == GOVERNANCE)):
        raise _protected()


def retained(lock: Mapping[str, str], document: Element, now: datetime, *, bypass: bool) -> dict[str, str]:
    """The lock after a PutObjectRetention. Raises AwsError for one that would weaken what must not be weakened."""
    mode, until = document.findtext("Mode"), document.findtext("RetainUntilDate")
    if (mode is None) != (until is None):
        raise xml.malformed()
    new = {"mode": _mode(mode), "until": _date(until, now)} if mode is not None and until is not None else {}
    weaker = not new or new["until"] < lock.get("until", "") or new["mode"] == GOVERNANCE != lock.get("mode")
    if _holds(lock, now) and weaker and not (bypass and lock["mode"] == GOVERNANCE):
        raise _protected()
    return {**{name: value for name, value in lock.items() if name == "hold"}, **new}


def held(lock: Mapping[str, str], document: Element) -> dict[str, str]:
    """The lock after a PutObjectLegalHold."""
    return {**lock, "hold": _hold(document.findtext("Status") or "")}


def retention_answer(lock: Mapping[str, str]) -> str:
    if "mode" not in lock:
        raise _none()
    return xml.elements([("Mode", lock["mode"]), ("RetainUntilDate", _shown(lock["until"]))])


def hold_answer(lock: Mapping[str, str]) -> str:
    if "hold" not in lock:
        raise _none()
    return xml.element("Status", lock["hold"])


def default_of(document: Element) -> dict[str, Any] | None:
    """The default retention of a bucket's ObjectLockConfiguration: `mode` and `days`."""
    rule = document.find("Rule/DefaultRetention")
    if rule is None:
        return None
    days, years = rule.findtext("Days"), rule.findtext("Years")
    number = days or years or ""
    if not re.fullmatch(r"[0-9]{1,9}", number) or (days is None) == (years is None) or int(number) == 0:
        raise xml.malformed()
    if int(number) * (1 if days else 365) > LONGEST_DEFAULT:
        raise AwsError("InvalidArgument", "Default retention period too large!", 400)
    return {"mode": _mode(rule.findtext("Mode") or ""), "days": int(number) * (1 if days else 365)}


def _holds(lock: Mapping[str, str], now: datetime) -> bool:
    return "until" in lock and datetime.fromisoformat(lock["until"]) > now


def _mode(value: str) -> str:
    if value not in MODES:
        raise AwsError("InvalidArgument", "Unknown wormMode directive.", 400)
    return value


def _hold(value: str) -> str:
    if value not in {"ON", "OFF"}:
        raise AwsError("InvalidArgument", "Legal Hold must be either of 'ON' or 'OFF'", 400)
    return value


def _date(value: str, now: datetime) -> str:
    try:
        found = datetime.fromisoformat(value)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):  # the last hours of the year 9999 may be in no year that Python has
        raise AwsError("InvalidArgument", "The retain until date must be provided in ISO 8601 format", 400) from None
    if found <= now:
        raise AwsError("InvalidArgument", "The retain until date must be in the future!", 400)
    return found.isoformat()


def _shown(value: str) -> str:
    found = datetime.fromisoformat(value)
    return f"{found:%Y-%m-%dT%H:%M:%S}.{found.microsecond // 1000:03d}Z"


def _protected() -> AwsError:
    return AwsError("AccessDenied", "Access Denied because object protected by object lock.", 403)


def _none() -> AwsError:
    return AwsError(
        "NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration", 404
    )
