"""A browser's upload: the form taken apart, its policy's conditions checked, and the PUT it stands for.

Sources: "Browser-based uploads using POST", "POST policy" and "POST Object" (S3 API reference). A field after the file is ignored, as
S3 ignores it.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from typing import Any, Final, cast
from urllib.parse import quote, urlencode, urlsplit
from xml.sax.saxutils import escape

from defusedxml import DefusedXmlException, ElementTree

from towpath.sandbox.errors import AwsError, not_implemented
from towpath.sandbox.s3 import rules, xml
from towpath.sandbox.wire import Body, Request, Response

BLOCK: Final = 256 * 1024  # bytes read at once
FIELDS_LIMIT: Final = 20 * 1024  # bytes of everything before the file
SIGNING: Final = ("policy", "x-amz-signature", "x-amz-credential", "x-amz-algorithm", "x-amz-date")
# Fields that no condition has to name.
_FREE: Final = frozenset({"x-amz-signature", "file", "policy", "awsaccesskeyid", "signature"})
# Fields that become headers of the PUT under their own name, beside every x-amz-* one.
_HEADERS: Final = frozenset({"cache-control", "content-type", "content-disposition", "content-encoding", "expires"})
_NOT_HEADERS: Final = frozenset({*SIGNING, "x-amz-security-token"})
_ORDER: Final = "If it is specified, please check the order of the fields."


@dataclass(frozen=True, kw_only=True)
class Form:
    """Fields by name in lower case, and the file: the name its browser gave it, and its content."""

    fields: Mapping[str, str]
    filename: str
    file: Body

    @property
    def key(self) -> str:
        return self.fields["key"].replace("${filename}", self.filename)

    @property
    def signed(self) -> bool:
        return "policy" in self.fields


def read(request: Request) -> Form:
    """Raises AwsError for what is not a form with a key and one file. The caller closes the file."""
    try:
        return _read(_events(request))
    except AwsError:
        raise
    except Exception as error:  # the decoder's own: ValueError, RequestEntityTooLarge, UnicodeDecodeError
        raise _not_well_formed(f"{type(error).__name__}: {error}") from None


def _read(events: Iterator[Any]) -> Form:
    fields: dict[str, str] = {}
    length = 0
    for event in events:
        name = str(event.name).lower()
        filename = getattr(event, "filename", None)
        if name == "file":
            _required(fields)
            # A browser may send a whole path; S3 puts the name alone for ${filename}.
            short = (filename or "").replace("\\", "/").rpartition("/")[2]
            return Form(fields=fields, filename=short, file=Body(_data(events)))
        value = b""
        for data in _data(events):
            value += data
            length += len(data)
            if length > FIELDS_LIMIT:
                raise AwsError(
                    "MaxPostPreDataLengthExceededError",
                    "Your POST request fields preceding the upload file were too large.",
                    400,
                )
        if name in fields:
            raise AwsError("InvalidArgument", f"The field {name[:60]} is given twice.", 400)
        fields[name] = value.decode("utf-8")
    raise AwsError("InvalidArgument", "POST requires exactly one file upload per request.", 400)


def _events(request: Request) -> Iterator[Any]:
    """The form's parts as the decoder finds them: a Field or File, then its Data."""
    from werkzeug.sansio import multipart

    decoder = multipart.MultipartDecoder(_boundary(request), max_form_memory_size=4 * BLOCK, max_parts=1_000)
    stream = request.body.stream()
    while True:
        event = decoder.next_event()
        if isinstance(event, multipart.NeedData):
            decoder.receive_data(stream.read(BLOCK) or None)
        elif isinstance(event, multipart.Epilogue):
            return
        elif not isinstance(event, multipart.Preamble):
            yield event


def _data(events: Iterator[Any]) -> Iterator[bytes]:
    for event in events:
        yield event.data
        if not event.more_data:
            return


def _boundary(request: Request) -> bytes:
    message = Message()
    message["Content-Type"] = request.headers.get("content-type", "")
    boundary = message.get_boundary("")
    if not boundary or len(boundary) > 200:
        raise _not_well_formed("no boundary")
    return boundary.encode("latin-1", "replace")


def _required(fields: Mapping[str, str]) -> None:
    wanted = ("key", *SIGNING) if any(name in fields for name in SIGNING) else ("key",)
    if "awsaccesskeyid" in fields or ("signature" in fields and "x-amz-signature" not in fields):
        raise AwsError(
            "InvalidRequest",
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
            400,
            why="a form signed with version 2",
        )
    for name in wanted:
        if not fields.get(name):
            raise AwsError("InvalidArgument", f"Bucket POST must contain a field named '{name}'.  {_ORDER}", 400)


def check_policy(form: Form, *, bucket: str, now: datetime) -> None:
    """Every condition of the form's policy holds, and every field is named by one. Raises AwsError otherwise."""
    policy = _policy(form.fields["policy"])
    if now >= _expiration(policy):
        raise _against("Policy expired.")
    conditions = policy.get("conditions")
    if not isinstance(conditions, list):
        raise _invalid("Policy missing conditions.")
    values = {**form.fields, "bucket": bucket, "key": form.key}
    named: set[str] = set()
    for condition in cast("list[object]", conditions):
        for operator, name, value in _tests(condition):
            if operator == "content-length-range":
                _check_length(form.file.length, name, value)
                continue
            named.add(name)
            if not _holds(operator, name, value, values, form):
                raise _against(f'Policy Condition failed: ["{operator}", "${name}", "{value}"]')
    extra = [name for name in form.fields if name not in named | _FREE and not name.startswith("x-ignore-")]
    if extra:
        raise _against(f"Extra input fields: {extra[0]}")


def _policy(text: str) -> dict[str, Any]:
    try:
        found = json.loads(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise _invalid("Invalid JSON.") from None
    if not isinstance(found, dict):
        raise _invalid("Invalid JSON.")
    return cast("dict[str, Any]", found)


def _expiration(policy: Mapping[str, Any]) -> datetime:
    if "expiration" not in policy:
        raise _invalid("Policy missing expiration.")
    text = policy["expiration"]
    try:
        end = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise _invalid(f"Invalid 'expiration' value: '{str(text)[:60]}'") from None
    return end if end.tzinfo else end.replace(tzinfo=UTC)


def _tests(condition: object) -> Iterator[tuple[str, str, Any]]:
    """A condition as (operator, field in lower case, value); of a length range the two are its ends."""
    if isinstance(condition, dict):
        fields = cast("dict[str, object]", condition)
        if len(fields) != 1:
            raise _invalid("Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
        for name, value in fields.items():
            if not isinstance(value, str):
                raise _invalid("Invalid Simple-Condition: value must be a string.")
            yield "eq", name.lower(), value
        return
    items = cast("list[Any]", condition) if isinstance(condition, list) else []
    if len(items) != 3 or not isinstance(items[0], str):
        raise _invalid("Invalid Condition: a condition has three elements.")
    operator = items[0].lower()
    if operator == "content-length-range":
        yield operator, items[1], items[2]
        return
    if operator not in {"eq", "starts-with"} or not all(isinstance(item, str) for item in items[1:]):
        raise _invalid(f"Invalid Condition: unknown operation '{items[0][:40]}'.")
    if not items[1].startswith("$"):
        raise _invalid("Invalid Condition: the field must start with '$'.")
    yield operator, items[1][1:].lower(), items[2]


def _holds(operator: str, name: str, wanted: str, values: Mapping[str, str], form: Form) -> bool:
    value = values.get(name)
    if value is None:
        # `starts-with` with nothing after it takes anything, and so the field's absence.
        return operator == "starts-with" and wanted == ""
    if name == "key" and "${filename}" in wanted:
        wanted = wanted.replace("${filename}", form.filename)
    if operator == "eq":
        return value == wanted
    if name == "content-type":
        # A list of types has to begin so in each of them.
        return all(item.strip().startswith(wanted) for item in value.split(","))
    return value.startswith(wanted)


def _check_length(length: int, least: object, most: object) -> None:
    try:
        smallest, largest = int(cast("str", least)), int(cast("str", most))
    except (TypeError, ValueError, OverflowError):  # JSON's 1e999 is infinite to Python
        raise _invalid("Invalid content-length-range: it has two whole numbers.") from None
    if length < smallest:
        raise AwsError("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size", 400)
    if length > largest:
        raise AwsError("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size", 400)


def as_put(request: Request, form: Form, *, bucket: str) -> Request:
    """The PUT of an object that the form stands for, in path style and unsigned."""
    headers = {"host": request.headers.get("host", ""), "content-length": str(form.file.length)}
    for name, value in form.fields.items():
        if name in _HEADERS or (name.startswith("x-amz-") and name not in _NOT_HEADERS):
            rules.check_header(name)
            if name.startswith("x-amz-copy-source"):  # it would be a copy, and the file would go nowhere
                raise not_implemented("a copy by a form")
            if "\n" in value or "\r" in value:
                raise AwsError("InvalidArgument", f"The field {name[:60]} is no header's value.", 400)
            headers[name] = value
    if "acl" in form.fields:
        headers["x-amz-acl"] = form.fields["acl"]
    if "tagging" in form.fields:
        headers["x-amz-tagging"] = _tags(form.fields["tagging"])
    return Request(
        method="PUT",
        path=f"/{bucket}/{quote(form.key, safe='/-_.~')}",
        headers=headers,
        body=form.file,
        remote=request.remote,
        secure=request.secure,
    )


def _tags(text: str) -> str:
    try:
        root = ElementTree.fromstring(text)
    except (
        ElementTree.ParseError,
        DefusedXmlException,
        ValueError,
        LookupError,
    ):  # LookupError: an encoding nobody knows
        raise xml.malformed() from None
    return urlencode([(xml.text(item, "Key") or "", xml.text(item, "Value") or "") for item in xml.named(root, "Tag")])


def answer(form: Form, put: Response, *, bucket: str, location: str) -> Response:
    """What S3 answers to a form that was taken: 204, or what its success_action fields ask for."""
    etag = put.header("etag") or ""
    headers = [("Location", location), ("ETag", etag)]
    headers += [(name, value) for name, value in put.headers if name.lower().startswith("x-amz-")]
    redirect = form.fields.get("success_action_redirect") or form.fields.get("redirect")
    if redirect and _is_web_address(redirect):
        query = urlencode({"bucket": bucket, "key": form.key, "etag": etag})
        headers[0] = ("Location", f"{redirect}{'&' if '?' in redirect else '?'}{query}")
        return Response(status=303, headers=headers)
    status = form.fields.get("success_action_status")
    if status == "201":
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<PostResponse><Location>{escape(location)}</Location><Bucket>{escape(bucket)}</Bucket>"
            f"<Key>{escape(form.key)}</Key><ETag>{escape(etag)}</ETag></PostResponse>"
        )
        return Response(status=201, headers=[*headers, ("Content-Type", "application/xml")], body=body.encode())
    return Response(status=200 if status == "200" else 204, headers=headers)


def _is_web_address(text: str) -> bool:
    try:
        return urlsplit(text).scheme in {"http", "https"}
    except ValueError:
        return False


def _against(what: str) -> AwsError:
    return AwsError("AccessDenied", f"Invalid according to Policy: {what}", 403)


def _invalid(what: str) -> AwsError:
    return AwsError("InvalidPolicyDocument", f"Invalid Policy: {what}", 400)


def _not_well_formed(why: str) -> AwsError:
    return AwsError(
        "MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.", 400, why=why
    )
