"""Fetching from real servers, http and https, that redirect, drip, flood, lie or are not there."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from towpath.errors import UsageError
from towpath.oidc.errors import IssuerUnreachable
from towpath.oidc.fetch import Fetcher, IssuerMapping, mappings_from_environment

from .conftest import ISSUER, Answer, Authority, Site, Sites, answer, drip, raw

DOCUMENT = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"}
GOOD = f"{ISSUER}/good"


def fetcher_to(site: Site, ca_file: Path | None = None, **bounds: Any) -> Fetcher:
    site.routes.setdefault("/good", answer(DOCUMENT))
    return Fetcher([IssuerMapping(public=ISSUER, local=site.url, ca_file=ca_file)], **bounds)


def refused(fetcher: Fetcher, url: str) -> IssuerUnreachable:
    with pytest.raises(IssuerUnreachable) as caught:
        fetcher.get_json(url)
    assert caught.value.where == url
    assert caught.value.todo
    return caught.value


# --- contents ----------------------------------------------------------------------------------------------------

CONTENTS: dict[str, tuple[Answer, str]] = {
    "missing": (answer(b"x", status=404), "it answered 404"),
    "broken": (answer({}, status=500), "it answered 500"),
    "created": (answer({}, status=201), "it answered 201"),
    "no content": (answer(b"", status=204), "it answered 204"),
    "a web page": (answer(b"<html>sign in</html>"), "not JSON in UTF-8"),
    "empty": (answer(b""), "not JSON in UTF-8"),
    "a list": (answer([DOCUMENT]), "not a JSON object"),
    "text": (answer("x"), "not a JSON object"),
    "null": (answer(None), "not a JSON object"),
    "not UTF-8": (answer(b'{"a": "\xff"}'), "not JSON in UTF-8"),
    "compressed unasked": (
        answer(gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"}),
        "not JSON in UTF-8",
    ),
    "too deep": (answer(b"[" * 100_000), "not JSON in UTF-8"),
    "a huge number": (answer(b'{"a": ' + b"9" * 5000 + b"}"), "not JSON in UTF-8"),
    "cut off": (answer({"a": 1}, length=5000), "cannot read"),
    "not HTTP": (raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "cannot read"),
}


@pytest.mark.parametrize("case", CONTENTS)
def test_contents(site: Site, case: str) -> None:
    fetcher = fetcher_to(site, timeout=2)
    assert fetcher.get_json(GOOD) == DOCUMENT
    site.routes["/case"], says = CONTENTS[case]
    error = refused(fetcher, f"{ISSUER}/case")
    assert says in error.what
    assert site.url in error.what


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(site: Site, status: int) -> None:
    fetcher = fetcher_to(site)
    assert fetcher.get_json(GOOD) == DOCUMENT
    site.asked.clear()
    site.routes["/moved"] = answer(b"", status=status, headers={"Location": f"{site.url}/good"})
    error = refused(fetcher, f"{ISSUER}/moved")
    assert f"it redirects ({status}) to '{site.url}/good', and redirects are not followed" in error.what
    assert site.asked == ["/moved"]


# --- size --------------------------------------------------------------------------------------------------------


def test_limit_is_exact(site: Site) -> None:
    body = json.dumps({"a": "x" * 1000}).encode()
    fetcher = fetcher_to(site, limit=len(body))
    site.routes["/full"] = answer(body)
    site.routes["/over"] = answer(body + b" ")
    assert fetcher.get_json(f"{ISSUER}/full")["a"] == "x" * 1000
    assert f"larger than {len(body)} bytes" in refused(fetcher, f"{ISSUER}/over").what


@pytest.mark.parametrize("framing", ["Content-Length: 99999999999", "Connection: close"])
def test_a_flood_is_cut_while_it_streams(site: Site, framing: str) -> None:
    fetcher = fetcher_to(site, limit=100_000, timeout=4)
    assert fetcher.get_json(GOOD) == DOCUMENT
    head = f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode()
    site.routes["/flood"] = drip(head, b"x" * 50_000, pause=0.001)
    start = time.monotonic()
    assert "larger than 100000 bytes" in refused(fetcher, f"{ISSUER}/flood").what
    assert time.monotonic() - start < 2
    assert site.sent() < 20_000_000  # what the kernel's buffers took, not what would have been sent


# --- time --------------------------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SLOW: dict[str, Answer] = {
    "nothing": drip(b"", b"", pause=0.05),
    "status line": drip(b"HTTP/1.1 200 ", b"O", pause=0.05),
    "headers": drip(HEAD, b"X-A: b\r\n", pause=0.05),
    "informational answers": drip(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", pause=0.05),
    "body": drip(HEAD + b"Content-Length: 1000\r\n\r\n", b" ", pause=0.05),
    "chunks": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", pause=0.05),
    "chunk size": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a", pause=0.05),
}


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("case", SLOW)
def test_the_whole_fetch_is_bounded(sites: Sites, authority: Authority, case: str, secure: bool) -> None:
    site = sites.start(authority.context("127.0.0.1") if secure else None)
    ca_file = authority.file if secure else None
    assert fetcher_to(site, ca_file=ca_file).get_json(GOOD) == DOCUMENT
    site.routes["/slow"] = SLOW[case]
    _bounded(fetcher_to(site, ca_file=ca_file, timeout=0.25), f"{ISSUER}/slow", 0.25)
    _threads_end()


def test_a_handshake_that_never_comes(authority: Authority, sites: Sites) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        fetcher = Fetcher([IssuerMapping(public=ISSUER, local=url, ca_file=authority.file)], timeout=0.3)
        _bounded(fetcher, GOOD, 0.3)
    _threads_end()


def test_looking_the_name_up_counts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    named = IssuerMapping(public=ISSUER, local=site.url.replace("127.0.0.1", "slow.example"))
    over, look_up = threading.Event(), socket.getaddrinfo
    site.routes["/good"] = answer(DOCUMENT)

    def slow(host: str, port: int, *more: int) -> object:
        assert over.wait(5)
        return look_up("127.0.0.1", port, *more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    _bounded(Fetcher([named], timeout=0.3), GOOD, 0.3)
    over.set()
    _threads_end()
    assert site.asked == []  # an attempt that nobody waits for any more does not send its request
    assert Fetcher([named]).get_json(GOOD) == DOCUMENT


def _bounded(fetcher: Fetcher, url: str, seconds: float) -> None:
    start = time.monotonic()
    assert f"no complete answer within {seconds:g} s" in refused(fetcher, url).what
    assert seconds <= time.monotonic() - start < seconds + 0.75


def _threads_end() -> None:
    """An abandoned fetch does not go on reading."""
    deadline = time.monotonic() + 2
    while found := [t.name for t in threading.enumerate() if t.name.startswith("fetch ")]:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)


# --- TLS and absence ---------------------------------------------------------------------------------------------


def test_certificates(sites: Sites, authority: Authority, tmp_path: Path) -> None:
    site = sites.start(authority.context("127.0.0.1"))
    assert fetcher_to(site, ca_file=authority.file).get_json(GOOD) == DOCUMENT
    untrusted = refused(fetcher_to(site), GOOD)
    assert "CERTIFICATE_VERIFY_FAILED" in untrusted.what
    assert "TOWPATH_ISSUER_MAP=PUBLIC=LOCAL,CA_FILE" in untrusted.todo
    other = sites.start(authority.context("issuer.example"))
    assert "IP address mismatch" in refused(fetcher_to(other, ca_file=authority.file), GOOD).what
    plain = sites.start()
    lying = Site(url=plain.url.replace("http:", "https:"))
    assert "cannot read" in refused(fetcher_to(lying, ca_file=authority.file), GOOD).what
    empty = tmp_path / "empty.crt"
    empty.write_text("no certificate")
    assert f"the CA file {empty} cannot be used" in refused(fetcher_to(site, ca_file=empty), GOOD).what


def test_the_environment_does_not_make_a_certificate_trusted(
    sites: Sites, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = sites.start(authority.context("127.0.0.1"))
    assert fetcher_to(site, ca_file=authority.file).get_json(GOOD) == DOCUMENT
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    assert "CERTIFICATE_VERIFY_FAILED" in refused(fetcher_to(site), GOOD).what


def test_closed_port(site: Site) -> None:
    assert fetcher_to(site).get_json(GOOD) == DOCUMENT
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}"
    error = refused(Fetcher([IssuerMapping(public=ISSUER, local=closed)]), GOOD)
    assert "refused" in error.what
    assert closed in error.what
    assert error.todo == f"make it readable without credentials: curl -sS {GOOD}"


def test_anonymous(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    site.routes["/good"] = answer(DOCUMENT, headers={"Set-Cookie": "a=b"})
    fetcher = fetcher_to(site)
    for _ in range(2):
        assert fetcher.get_json(GOOD) == DOCUMENT
    for headers in site.headers:
        assert not {"authorization", "cookie", "proxy-authorization"} & set(headers)
        assert headers["accept-encoding"] == "identity"


# --- which URLs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://issuer.example/x", "only https is fetched"),
        ("ftp://issuer.example/x", "only https is fetched"),
        ("file:///etc/passwd", "not a URL of a host and a path"),
        ("https:///x", "not a URL"),
        ("issuer.example", "not a URL"),
        ("https://me:secret@issuer.example/x", "not a URL"),
        ("https://issuer.example@127.0.0.1/x", "not a URL"),
        ("https://issuer.example/x#y", "not a URL"),
        ("https://issuer.example:0/x", "not a URL"),
        ("https://issuer.example:99999/x", "not a URL"),
        ("https://[::1/x", "not a URL"),
        ("https://issuer.example\\@127.0.0.1/x", "not a URL"),
        ("https://oidc.eks.*.amazonaws.com/x", "not a URL"),
        ("HTTP://issuer.example/x", "only https is fetched"),
        (f"{ISSUER}/../../../admin", "'.' or '..' segment"),
        (f"{ISSUER}/%2e%2E/admin", "'.' or '..' segment"),
        (f"{ISSUER}/..%2f..%2fadmin", "'.' or '..' segment"),
        (f"{ISSUER}/.%5c..%5cadmin", "'.' or '..' segment"),
    ],
)
def test_urls_that_are_not_fetched(site: Site, url: str, says: str) -> None:
    fetcher = fetcher_to(site)
    assert fetcher.get_json(GOOD) == DOCUMENT
    assert says in refused(fetcher, url).what
    assert site.asked == ["/good"]


@pytest.mark.parametrize(
    "url", ["", "https://x.example/a b", "https://x.example/\n", "https://ünï.example/", "\x1b[2J"]
)
def test_urls_that_are_no_line_of_ascii_are_quoted(url: str) -> None:
    with pytest.raises(IssuerUnreachable) as caught:
        Fetcher().get_json(url)
    assert caught.value.where == repr(url)
    assert f"{caught.value}".isprintable()


def test_what_is_made_to_be_pasted_is_quoted(site: Site) -> None:
    url = f"{ISSUER}/$(reboot)'"
    assert f"curl -sS '{ISSUER}/$(reboot)'\"'\"''" in refused(fetcher_to(site), url).todo


# --- mappings ----------------------------------------------------------------------------------------------------

EKS = "https://oidc.eks.*/id/=http://127.0.0.1:1/.towpath/issuers/"


@pytest.mark.parametrize(
    ("mapping", "url", "local"),
    [
        (EKS, "https://oidc.eks.eu-west-1.amazonaws.com/id/AB/keys", "http://127.0.0.1:1/.towpath/issuers/AB/keys"),
        (EKS, "https://oidc.eks.cn-north-1.amazonaws.com.cn/id/AB", "http://127.0.0.1:1/.towpath/issuers/AB"),
        (EKS, "https://oidc.eks./id/AB", None),
        (EKS, "https://oidc.eks.evil.example/x/id/AB", None),
        (EKS, "https://oidc.eks.a:1/id/AB", None),
        (EKS, "https://oidc.eks.me@a/id/AB", None),
        (EKS, "http://oidc.eks.a/id/AB", None),
        (EKS, "https://oidcxeks.a/id/AB", None),
        (EKS, "x https://oidc.eks.a/id/AB", None),
        ("https://a/id/AB=https://b:6443", "https://a/id/AB/keys", "https://b:6443/keys"),
        ("https://a/id/AB=https://b:6443", "https://a/id/AB", "https://b:6443"),
        ("https://a/id/AB=https://b:6443", "https://a/id/ABC/keys", None),
        ("https://a=https://b:6443", "https://a.evil/keys", None),
        ("https://a=https://b:6443", "https://a:81/keys", None),
        ("https://a=https://b:6443", "https://a@evil/keys", None),
        ("https://[::1]:6443=https://[::1]:1", "https://[::1]:6443/x", "https://[::1]:1/x"),
    ],
)
def test_rewriting(mapping: str, url: str, local: str | None) -> None:
    assert IssuerMapping.parse(mapping).rewrite(url) == local


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not PUBLIC=LOCAL"),
        ("https://a", "is not PUBLIC=LOCAL"),
        ("http://a=http://b", "PUBLIC is an https URL"),
        ("a=http://b", "PUBLIC is an https URL"),
        ("https://a/*/id=http://b", "with * in its host at most"),
        ("https://me@a=http://b", "PUBLIC is an https URL"),
        ("https://a=b", "LOCAL is an http or https URL"),
        ("https://a=ftp://b", "LOCAL is an http or https URL"),
        ("https://a=http://*", "LOCAL is an http or https URL"),
        ("https://a=", "LOCAL is an http or https URL"),
        ("https://a/=http://b", "end with a slash both, or neither"),
        ("https://a=http://b/", "end with a slash both, or neither"),
        ("https://a=https://b,/no/such/file", "there is no CA file /no/such/file"),
        (f"https://a=http://b,{__file__}", "a CA file is for an https LOCAL"),
    ],
)
def test_malformed_mappings(text: str, says: str) -> None:
    assert IssuerMapping.parse(f"https://a=https://b,{__file__}").ca_file == Path(__file__)
    with pytest.raises(UsageError) as caught:
        IssuerMapping.parse(text)
    assert says in caught.value.what
    assert (caught.value.where, bool(caught.value.todo)) == ("issuer mapping (--map-issuer)", True)


def test_environment() -> None:
    assert mappings_from_environment({}) == ()
    found = mappings_from_environment({"TOWPATH_ISSUER_MAP": f" https://a=http://b\n{EKS} "})
    assert [m.public for m in found] == ["https://a", "https://oidc.eks.*/id/"]
    with pytest.raises(UsageError) as caught:
        mappings_from_environment({"TOWPATH_ISSUER_MAP": "https://a=http://b nonsense"})
    assert caught.value.where == "TOWPATH_ISSUER_MAP"


def test_the_first_mapping_counts(sites: Sites) -> None:
    one, two = sites.start(), sites.start()
    fetcher_to(one)
    fetcher_to(two)
    general = IssuerMapping.parse(f"https://oidc.eks.*.amazonaws.com/id={two.url}/id")
    exact = IssuerMapping(public=ISSUER, local=one.url)
    assert Fetcher([exact, general]).get_json(GOOD) == DOCUMENT
    assert (one.asked, two.asked) == (["/good"], [])
    with pytest.raises(IssuerUnreachable):
        Fetcher([general, exact]).get_json(GOOD)
    assert two.asked == ["/id/" + "A" * 32 + "/good"]
