"""Query strings and forms as anybody may write them: an answer, never an exception; and one service's words never move another."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .conftest import BUCKET, EVERYDAY, Door, fuzzing
from .mutations import INTERESTING, WIRE
from .signing import plain, signed

PRINTABLE = st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), max_size=30)
SUBRESOURCES = (
    "acl", "cors", "lifecycle", "policy", "policyStatus", "versioning", "versions", "uploads", "tagging", "website", "location",
    "notification", "replication", "encryption", "inventory", "metrics", "analytics", "intelligent-tiering", "object-lock",
    "ownershipControls", "publicAccessBlock", "accelerate", "requestPayment", "logging", "attributes", "torrent", "retention",
    "legal-hold", "restore", "select", "session", "delete", "uploadId", "partNumber", "versionId", "list-type", "prefix", "delimiter",
    "max-keys", "marker", "continuation-token", "start-after", "encoding-type", "fetch-owner", "key-marker", "x-id", "append",
    "response-content-type", "part-number-marker", "max-parts", "max-uploads", "id", "Action", "X-Amz-Expires",
)  # fmt: skip
ACTIONS = (
    "ListRoles", "GetRole", "CreateRole", "PutRolePolicy", "CreatePolicy", "CreateOpenIDConnectProvider", "AttachRolePolicy",
    "CreateAccessKey", "SimulatePrincipalPolicy", "GetCallerIdentity", "AssumeRole", "GetSessionToken", "GetFederationToken",
    "DecodeAuthorizationMessage", "GetAccessKeyInfo", "AssumeRoleWithSAML", "TagRole", "CreateUser", "UpdateAssumeRolePolicy",
)  # fmt: skip
NAMES = (
    "RoleName", "UserName", "PolicyName", "PolicyArn", "PolicyDocument", "AssumeRolePolicyDocument", "Path", "PathPrefix", "MaxItems",
    "Marker", "Url", "ClientIDList.member.1", "ThumbprintList.member.1", "RoleArn", "RoleSessionName", "DurationSeconds", "Policy",
    "MaxSessionDuration", "Tags.member.1.Key", "Tags.member.1.Value", "ActionNames.member.1", "PolicySourceArn", "Description",
)  # fmt: skip
PLAUSIBLE = (
    "fuzzed", "/", "/a/", "1", "0", "-1", "999999999999", "1e9", "arn:aws:iam::123456789012:role/fuzzed", "arn:aws:iam::aws:policy/ReadOnlyAccess",
    "https://example.com", "https://example.com:8443/x?y#z", "{}", "[]", '{"Version":"2012-10-17","Statement":[]}', "null", "s3:GetObject",
    "9" * 5000, "[" * 2000, "\u2603", "",
)  # fmt: skip


@EVERYDAY
def test_any_query_string_to_s3(door: Door, examples: int) -> None:
    """Signed by the administrator, so that whatever it means is tried; only reading methods, so that it can be tried often."""
    value = st.one_of(
        PRINTABLE,
        st.sampled_from([*INTERESTING, "1", "1000", "-5", "2", "url", "/", "null"]).map(quote),
    )
    pair = st.tuples(st.sampled_from(SUBRESOURCES), st.booleans(), value).map(
        lambda p: p[0] if p[1] else f"{p[0]}={p[2]}"
    )
    query = st.one_of(st.lists(pair, max_size=4).map("&".join), PRINTABLE, WIRE)
    path = st.sampled_from(
        [
            "/",
            f"/{BUCKET}",
            f"/{BUCKET}/",
            f"/{BUCKET}/present",
            f"/{BUCKET}/absent",
            "/no-such-bucket",
            f"/{BUCKET}/%00",
            "//",
        ]
    )

    def check(method: str, where: str, text: str) -> None:
        door.knock(signed(plain(method, where, query=text), door.key))

    fuzzing(examples)(given(st.sampled_from(["GET", "HEAD", "OPTIONS"]), path, query)(check))()


@EVERYDAY
def test_any_form_to_iam_and_sts(door: Door, examples: int) -> None:
    value = st.one_of(st.sampled_from(PLAUSIBLE), st.text(max_size=20))
    form = st.dictionaries(st.one_of(st.sampled_from(NAMES), PRINTABLE), value, max_size=5)

    def check(service: str, action: str, fields: dict[str, str], in_query: bool) -> None:
        text = "&".join(
            f"{quote(name, errors='replace')}={quote(text, errors='replace')}"
            for name, text in {"Action": action, "Version": "2010-05-08", **fields}.items()
        )
        if in_query:
            request = plain("POST", "/", query=text, headers={"content-type": "application/x-www-form-urlencoded"})
        else:
            request = plain(
                "POST", "/", headers={"content-type": "application/x-www-form-urlencoded"}, body=text.encode()
            )
        door.knock(signed(request, door.key, service=service))

    services = st.sampled_from(["iam", "sts"])
    fuzzing(examples)(given(services, st.one_of(st.sampled_from(ACTIONS), PRINTABLE), form, st.booleans())(check))()


@EVERYDAY
def test_any_form_without_a_signature(door: Door, examples: int) -> None:
    def check(method: str, query: str, body: bytes, kind: str) -> None:
        response = door.knock(plain(method, "/", query=query, headers={"content-type": kind}, body=body))
        assert response.status >= 400
        assert door.reached == []

    raw = st.one_of(
        WIRE,
        st.sampled_from(
            [
                "Action=AssumeRoleWithWebIdentity",
                "Action",
                "&&&",
                "Action=GetCallerIdentity&Action=AssumeRoleWithWebIdentity",
            ]
        ),
    )
    kind = st.sampled_from(
        [
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded; charset=utf-16",
            "application/json",
            "",
        ]
    )
    fuzzing(examples)(
        given(st.sampled_from(["GET", "POST"]), raw, st.one_of(st.binary(max_size=60), raw.map(str.encode)), kind)(
            check
        )
    )()


@EVERYDAY
def test_any_json_to_eks(door: Door, examples: int) -> None:
    body = st.one_of(
        st.binary(max_size=40),
        st.sampled_from(
            [
                b"[" * 50_000,
                b'{"name":' * 5_000,
                b"null",
                b"1",
                b'{"name": null}',
                b'{"name": "' + b"a" * 5000 + b'"}',
                b"9" * 5000,
            ]
        ),
    )
    path = st.sampled_from(
        [
            "/clusters",
            "/clusters/sandbox",
            "/clusters/%00",
            "/clusters/a%2Fb",
            "/clusters/sandbox/node-groups",
            "/",
            "/tags/x",
            "//clusters",
        ]
    )

    def check(method: str, where: str, query: str, content: bytes) -> None:
        if (method, where) == ("DELETE", "/clusters/sandbox"):
            return  # it would be done, and other tests' tokens are this cluster's
        door.knock(
            signed(
                plain(method, where, query=query, body=content, headers={"content-type": "application/json"}),
                door.key,
                service="eks",
            )
        )

    query = st.sampled_from(["", "maxResults=1", "maxResults=x", "nextToken=%00", "include=all"])
    fuzzing(examples)(given(st.sampled_from(["GET", "POST", "DELETE"]), path, query, body)(check))()


@EVERYDAY
def test_any_service_in_the_scope(door: Door, examples: int) -> None:
    """A signing name is the caller's word: the tables know it, or the request is refused."""
    name = st.one_of(
        PRINTABLE.filter(lambda text: "/" not in text and "," not in text and text),
        st.sampled_from(["..", ".", "%2e%2e", "s3", "S3", "s3express", "iam\x00"]),
    )

    def check(service: str, method: str) -> None:
        door.knock(signed(plain(method, "/", body=b"{}", headers={"x-amz-target": "A.B"}), door.key, service=service))

    fuzzing(examples)(given(name, st.sampled_from(["GET", "POST"]))(check))()


def test_an_encoded_slash_makes_no_other_call(door: Door) -> None:
    """The emulator decodes a path before it reads it: what is one name to the gate could be two and another operation to it."""
    plainly = door.knock(signed(plain("GET", "/clusters/sandbox/node-groups/x"), door.key, service="eks"))
    assert door.reached
    assert b"node group" in plainly.read().lower()
    disguised = door.knock(signed(plain("GET", "/clusters/sandbox%2Fnode-groups%2Fx"), door.key, service="eks"))
    assert door.reached == []
    assert disguised.status == 404


@pytest.mark.parametrize("value", ["other", None])
def test_the_emulator_goes_by_the_path_and_not_by_the_body(door: Door, value: str | None) -> None:
    path = "/clusters/sandbox/node-groups"
    body = json.dumps({"name": value}).encode()
    answer = door.knock(
        signed(plain("GET", path, body=body, headers={"content-type": "application/json"}), door.key, service="eks")
    )
    assert (answer.status, json.loads(answer.read())) == (200, {"nodegroups": []})
