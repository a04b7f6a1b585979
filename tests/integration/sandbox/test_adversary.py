"""Requests made to mean one thing to the gate and another to what stands behind it, or to end in nothing that AWS would answer."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from .conftest import World
from .test_gate import http, signed

FORM = "application/x-www-form-urlencoded"
OTHER = "210987654321"


def query(world: World, action: str, key: tuple[str, str] | None = None, **headers: str) -> tuple[int, str]:
    """One call of IAM."""
    body = urlencode({"Action": action, "Version": "2010-05-08"}).encode()
    sent = signed(world, "POST", "/", service="iam", body=body, key=key, **{"Content-Type": FORM, **headers})
    answer = http(world, "POST", "/", headers=sent, content=body)
    return answer.status_code, answer.text


@pytest.mark.parametrize("name", ["x-moto-account-id", "x_moto_account_id", "x-moto_account-id", "X_Moto_Account_Id"])
def test_no_header_names_another_account(world: World, name: str) -> None:
    """WSGI has one name for a header with underscores and the same with hyphens."""
    world.client("iam").create_user(UserName=f"owned-{name.lower()}")
    own = world.sandbox.admin_key.principal.account
    status, text = query(world, "ListUsers", **{name: OTHER})
    assert (status, f"owned-{name.lower()}" in text) == (200, True)
    other = world.sandbox.account(OTHER)
    status, text = query(world, "ListUsers", (other.access_key, other.secret), **{name: own})
    assert (status, "owned-" in text) == (200, False)
