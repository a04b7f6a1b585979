"""Whatever is sent to STS: an answer in AWS's words, no 500, and credentials only for the one token and role that are right."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from towpath.sandbox import service_models

from .conftest import World, role_arn
from .test_sts import SOURCE, TAGS, token_with, web_trust

ROLE = "anything"
CASES = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
words = st.text(max_size=40) | st.sampled_from(["", "*", "aws:x", "a" * 300, "arn:aws:iam::123456789012:role/anything"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)
tags = st.fixed_dictionaries(
    {},
    optional={"principal_tags": st.dictionaries(words, values, max_size=4) | values, "transitive_tag_keys": values},
)


@pytest.fixture(scope="module")
def role(world: World) -> str:
    world.role(ROLE, trust=web_trust(world, "sts:TagSession"))
    return ROLE


def post(world: World, form: dict[str, str]) -> httpx2.Response:
    body = urlencode(form, errors="surrogatepass").encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return httpx2.post(world.sandbox.endpoint, content=body, headers=headers, trust_env=False, timeout=20)


def exchange(role: str, token: str, **more: str) -> dict[str, str]:
    return {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": role_arn(role),
        "RoleSessionName": "test",
        "WebIdentityToken": token,
        **more,
    }


def judged(answer: httpx2.Response) -> None:
    assert answer.status_code in {200, 400, 403, 501}, answer.text
    assert ("<SecretAccessKey>" in answer.text) == (answer.status_code == 200)


@CASES
@given(claim=tags | values, source=st.none() | values)
def test_claims_of_any_form(world: World, role: str, claim: Any, source: Any) -> None:
    claims = {TAGS: claim} | ({} if source is None else {SOURCE: source})
    answer = post(world, exchange(role, token_with(world, **json.loads(json.dumps(claims)))))
    judged(answer)
    # The trust policy does not allow a source identity.
    assert source is None or answer.status_code != 200


def names(operation: str) -> list[str]:
    model = service_models.source("sts")
    assert model is not None
    members = model["shapes"][model["operations"][operation]["input"]["shape"]]["members"]
    return [*members, "PolicyArns.member.1.arn", "PolicyArns.member.1", "Policy.1", "Tags.member.1.Key", "Tags.x"]


@CASES
@given(more=st.dictionaries(st.sampled_from(names("AssumeRoleWithWebIdentity")), words, max_size=5))
def test_parameters_of_any_form(world: World, role: str, more: dict[str, str]) -> None:
    answer = post(world, exchange(role, world.token(), **more))
    judged(answer)
    if more.get("WebIdentityToken") is not None:
        assert answer.status_code != 200


@CASES
@given(
    action=st.sampled_from(
        ["AssumeRole", "GetCallerIdentity", "AssumeRoleWithSAML", "GetSessionToken", "AssumeRoot", ""]
    )
    | words,
    more=st.dictionaries(words, words, max_size=5),
)
def test_nothing_else_is_given_unsigned(world: World, action: str, more: dict[str, str]) -> None:
    if action == "AssumeRoleWithWebIdentity":
        return
    answer = post(world, {**more, "Action": action, "Version": "2011-06-15"})
    assert answer.status_code in {400, 403, 501}
    assert "<SecretAccessKey>" not in answer.text
