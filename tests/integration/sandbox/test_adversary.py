"""Requests made to mean one thing to the gate and another to what stands behind it, or to end in nothing that AWS would answer."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from towpath.sandbox.wire import LARGEST_FORM

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


@pytest.mark.parametrize("name", ["x-moto-account-id", "x_moto_account_id", "x-moto_account-id"])
def test_no_header_names_another_account(world: World, name: str) -> None:
    """WSGI has one name for a header with underscores and the same with hyphens."""
    world.client("iam").create_user(UserName=f"owned-{name}")
    own = world.sandbox.admin_key.principal.account
    status, text = query(world, "ListUsers", **{name: OTHER})
    assert (status, f"owned-{name}" in text) == (200, True)
    other = world.sandbox.account(OTHER)
    status, text = query(world, "ListUsers", (other.access_key, other.secret), **{name: own})
    assert (status, "owned-" in text) == (200, False)


# --- forms, and the sandbox's own interface --------------------------------------------------------------------------


@pytest.mark.parametrize("is_signed", [False, True])
def test_a_form_of_too_many_fields_is_a_clients_mistake(world: World, is_signed: bool) -> None:
    for fields, expected in ((9_000, 200 if is_signed else 403), (10_001, 400)):
        body = ("Action=ListUsers&Version=2010-05-08" + "".join(f"&a{n}=1" for n in range(fields))).encode()
        headers = {"Content-Type": FORM}
        sent = signed(world, "POST", "/", service="iam", body=body, **headers) if is_signed else headers
        answer = http(world, "POST", "/", headers=sent, content=body)
        assert answer.status_code == expected, answer.text


def test_a_form_of_too_many_bytes_is_not_read(world: World) -> None:
    start = b"Action=ListUsers&Version=2010-05-08&a="
    for size, expected in ((LARGEST_FORM, 403), (LARGEST_FORM + 1, 413)):
        body = start + b"1" * (size - len(start))
        answer = http(world, "POST", "/", headers={"Content-Type": FORM}, content=body)
        assert answer.status_code == expected, answer.text


@pytest.mark.parametrize(
    ("path", "good", "bad"),
    [
        ("/calls?after=", "1", "9" * 30),
        ("/calls?after=", "1", "9" * 5_000),
        ("/token", '{"namespace": "a", "serviceAccount": "b"}', "[" * 100_000 + "]" * 100_000),
        ("/token", '{"namespace": "a", "serviceAccount": "b"}', '{"namespace": ' + "[" * 100_000),
        ("/token", '{"namespace": "a", "serviceAccount": "b"}', '{"expiresIn": ' + "9" * 5_000 + "}"),
        ("/token", '{"namespace": "a", "serviceAccount": "b"}', " " * 1024 * 1024 + "{}"),
    ],
)
def test_the_sandboxs_own_interface_answers_whatever_it_is_sent(world: World, path: str, good: str, bad: str) -> None:
    def status(sent: str) -> int:
        headers = {"Authorization": f"Bearer {world.sandbox.secret}"}
        if path.endswith("="):
            return http(world, "GET", f"/.towpath{path}{sent}", headers=headers).status_code
        return http(world, "POST", f"/.towpath{path}", headers=headers, content=sent.encode()).status_code

    assert status(good) == 200
    assert status(bad) == (200 if path.endswith("=") else 400)
