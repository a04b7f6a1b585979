"""Signatures: a request that its signature does not cover never reaches the emulator.

`meaning` is what a signature is over, however it is spelt: a request changed so that its meaning stays may pass.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towpath.sandbox.wire import Body, Request

from .conftest import BUCKET, EVERYDAY, Door, fuzzing
from .mutations import INTERESTING, WIRE, spoiled, spoiled_bytes
from .signing import meaning, plain, presigned, signed

SCOPE_HEADER = "AWS4-HMAC-SHA256 Credential={}, SignedHeaders={}, Signature={}"


def requests(door: Door) -> dict[str, Request]:
    """Valid requests of each shape, signed now."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    body = b"Action=ListRoles&Version=2010-05-08"
    return {
        "get": signed(plain("GET", f"/{BUCKET}/present", query="versionId=null"), door.key),
        "put": signed(plain("PUT", f"/{BUCKET}/a%20b", body=b"data", headers={"x-amz-meta-a": "1  2"}), door.key),
        "unsigned payload": signed(plain("PUT", f"/{BUCKET}/c", body=b"data"), door.key, payload="UNSIGNED-PAYLOAD"),
        "list": signed(plain("GET", f"/{BUCKET}", query="list-type=2&prefix=a%2Fb&delimiter=%2F"), door.key),
        "form": signed(plain("POST", "/", headers=form, body=body), door.key, service="iam"),
    }


def refused(door: Door, request: Request) -> None:
    response = door.knock(request)
    assert 400 <= response.status < 500, response.status
    assert door.reached == []


def test_valid_requests_reach_the_emulator(door: Door) -> None:
    for name, request in requests(door).items():
        assert door.knock(request).status in {200, 404}, name
        assert door.reached, name
    assert door.knock(presigned(plain("GET", f"/{BUCKET}/present"), door.key)).status == 200
    assert door.reached


@EVERYDAY
def test_the_authorization_header_changed(door: Door, examples: int) -> None:
    found = requests(door)
    texts = {name: request.headers["authorization"] for name, request in found.items()}

    def parts(text: str) -> set[str]:
        return {piece.strip() for piece in text.partition(" ")[2].split(",")}

    def check(name: str, data: st.DataObject) -> None:
        changed = data.draw(st.one_of(spoiled(texts[name]), WIRE, st.sampled_from(INTERESTING)))
        request = replace(found[name], headers={**found[name].headers, "authorization": changed})
        if changed.startswith("AWS4-HMAC-SHA256 ") and parts(changed) == parts(texts[name]):
            door.knock(request)  # only white space differs
            return
        refused(door, request)

    fuzzing(examples)(given(st.sampled_from(sorted(found)), st.data())(check))()


@EVERYDAY
def test_a_signed_part_changed(door: Door, examples: int) -> None:
    found = requests(door)

    def check(name: str, data: st.DataObject) -> None:
        original = found[name]
        place = data.draw(st.sampled_from(["method", "path", "query", "body", "header", "name", "dropped"]))
        if place == "method":
            changed = replace(
                original,
                method=data.draw(st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "get", ""])),
            )
        elif place == "path":
            changed = replace(original, path=data.draw(spoiled(original.path)))
        elif place == "query":
            changed = replace(original, query=data.draw(spoiled(original.query)))
        elif place == "body":
            changed = replace(original, body=Body([data.draw(spoiled_bytes(original.body.read()))]))
            if name == "unsigned payload":
                return  # nothing is signed of it
        else:
            header = data.draw(st.sampled_from(sorted(set(original.headers) - {"authorization"})))
            headers = dict(original.headers)
            value = headers.pop(header)
            if place == "header":
                headers[header] = data.draw(spoiled(value))
            elif place == "name":
                headers[data.draw(spoiled(header))] = value
            changed = replace(original, headers=headers)
        if meaning(changed) == meaning(original):
            door.knock(changed)
            return
        response = door.knock(changed)
        assert response.status >= 400, response.status
        assert door.reached == []

    fuzzing(examples)(given(st.sampled_from(sorted(found)), st.data())(check))()


@EVERYDAY
def test_headers_that_were_not_signed(door: Door, examples: int) -> None:
    """x-amz-* headers steer S3: one that is not signed could come from anybody on the way."""
    found = requests(door)
    names = st.sampled_from(
        ["x-amz-acl", "x-amz-copy-source", "x-amz-tagging", "x-amz-security-token", "x-amz-target", "x-amz-decoded-content-length",
         "x-amz-sdk-checksum-algorithm", "x-amz-moto", "x-moto-account-id"]
    )  # fmt: skip

    def check(name: str, header: str, value: str) -> None:
        original = found[name]
        response = door.knock(replace(original, headers={**original.headers, header: value}))
        if header.startswith("x-amz-"):
            assert response.status >= 400
            assert door.reached == []

    fuzzing(examples)(
        given(st.sampled_from(sorted(found)), names, st.one_of(WIRE, st.sampled_from(INTERESTING)))(check)
    )()


@EVERYDAY
def test_a_presigned_query_changed(door: Door, examples: int) -> None:
    original = presigned(plain("GET", f"/{BUCKET}/present", query="response-content-type=text%2Fplain"), door.key)

    def check(data: st.DataObject) -> None:
        how = data.draw(st.sampled_from(["query", "value", "dropped", "path", "added"]))
        pairs = original.query.split("&")
        at = data.draw(st.integers(0, len(pairs) - 1))
        changed = original
        if how == "query":
            changed = replace(original, query=data.draw(spoiled(original.query)))
        elif how == "value":
            name, _, value = pairs[at].partition("=")
            pairs[at] = f"{name}={data.draw(st.one_of(spoiled(value), st.sampled_from(INTERESTING)))}"
            changed = replace(original, query="&".join(pairs))
        elif how == "dropped":
            changed = replace(original, query="&".join(pairs[:at] + pairs[at + 1 :]))
        elif how == "path":
            changed = replace(original, path=data.draw(spoiled(original.path)))
        else:
            changed = replace(original, query=f"{original.query}&{data.draw(spoiled(pairs[at]))}")
        response = door.knock(changed)
        if meaning(changed) != meaning(original):
            assert response.status >= 400, response.status
            assert door.reached == []

    fuzzing(examples)(given(st.data())(check))()


def test_a_signature_given_twice(door: Door) -> None:
    """It is not in what is signed, so another one beside it would not be noticed."""
    right = presigned(plain("GET", f"/{BUCKET}/present"), door.key)
    assert door.knock(right).status == 200
    last = right.query.rpartition("&")[2]
    for query in (f"{right.query}&{last}", f"X-Amz-Signature=0&{right.query}"):
        refused(door, replace(right, query=query))


@pytest.mark.parametrize("stamp", ["99991231T235959Z", "00010101T000000Z"])
def test_the_ends_of_time(door: Door, stamp: str) -> None:
    scope = f"{door.key.access_key}%2F{stamp[:8]}%2Feu-west-1%2Fs3%2Faws4_request"
    query = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={scope}&X-Amz-Date={stamp}&X-Amz-Expires=604800&X-Amz-SignedHeaders=host&X-Amz-Signature=00"
    refused(door, plain("GET", f"/{BUCKET}/present", query=query))
    authorization = SCOPE_HEADER.format(scope.replace("%2F", "/"), "host;x-amz-content-sha256;x-amz-date", "00")
    dated = {"x-amz-date": stamp, "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "authorization": authorization}
    refused(door, plain("GET", f"/{BUCKET}/present", headers=dated))
    refused(
        door,
        plain(
            "GET", f"/{BUCKET}/present", headers={**dated, "x-amz-date": "", "date": "Fri, 31 Dec 9999 23:59:59 -1200"}
        ),
    )


@EVERYDAY
def test_unsigned_requests(door: Door, examples: int) -> None:
    """Whatever its method, path, query, headers and body: without a signature nothing reaches the emulator."""
    headers = st.dictionaries(
        st.sampled_from(
            [
                "host",
                "x-amz-date",
                "x-amz-target",
                "content-type",
                "x-amz-content-sha256",
                "x-amz-acl",
                "range",
                "expect",
            ]
        ),
        st.one_of(
            WIRE,
            st.sampled_from(INTERESTING),
            st.sampled_from(["s3.amazonaws.com", f"{BUCKET}.s3.amazonaws.com", "localhost", "[::1]:80"]),
        ),
        max_size=3,
    )
    path = st.one_of(
        WIRE.map(lambda text: "/" + text),
        st.sampled_from([f"/{BUCKET}", f"/{BUCKET}/present", "/", "//", "/moto-api/data.json", "*", ""]),
    )
    method = st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "x"])

    def check(verb: str, where: str, query: str, found: dict[str, str], body: bytes) -> None:
        request = Request(
            method=verb, path=where, query=query, headers={"host": "localhost", **found}, body=Body([body])
        )
        response = door.knock(request)
        assert door.reached == []
        assert response.status >= 400

    fuzzing(examples)(
        given(
            method, path, st.one_of(st.just(""), WIRE, st.sampled_from(INTERESTING)), headers, st.binary(max_size=30)
        )(check)
    )()
