"""Calls on a screen: whole at any width, the reason of a refusal never cut."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from towpath.sandbox import render

ALLOWED: dict[str, Any] = {
    "number": 1, "time": "2026-01-02T03:04:05.678901Z", "who": "arn:aws:sts::123456789012:assumed-role/hd-orders/towpath-demo", "service": "s3",
    "action": "s3:PutObject", "resource": "arn:aws:s3:::orders-lake/raw/flights/attempts/2f1c/flights/1781.0a1b2c.parquet", "decision": "allowed",
    "why": "Sid Objects of policy hd-orders allows s3:PutObject on arn:aws:s3:::orders-lake/raw/x", "status": 200, "code": "", "needs": [],
}  # fmt: skip
REASON = "no statement allows s3:DeleteBucket on arn:aws:s3:::orders-lake; the nearest, statement 1 of policy hd-orders-s3-policy, allows s3:GetObject on it"
DENIED = {
    **ALLOWED,
    "number": 2,
    "action": "s3:DeleteBucket",
    "resource": "arn:aws:s3:::orders-lake",
    "decision": "denied",
    "why": REASON,
    "code": "AccessDenied",
}
WIDE = {**DENIED, "why": "日本" * 40, "resource": "arn:aws:s3:::lake/" + "日本語/" * 20}


@pytest.mark.parametrize("width", [40, 60, 80, 100, 110, 120, 200])
@pytest.mark.parametrize("call", [ALLOWED, DENIED, WIDE])
def test_no_line_is_wider_than_the_screen_and_no_reason_is_cut(width: int, call: dict[str, Any]) -> None:
    lines = [text.plain for text in (render.heading(width), *render.drawn(call, width))]
    assert max(cell_len(line) for line in lines) <= width
    if call["decision"] != "allowed":
        said = "".join(line.strip() for line in lines[2:]).replace(" ", "")
        assert said == f"AccessDenied:{call['why']}".replace(" ", "")


@pytest.mark.parametrize("width", [80, 120])
def test_what_a_row_says(width: int) -> None:
    row = render.drawn(ALLOWED, width)[0].plain
    assert row.startswith("03:04:05  hd-orders/")
    assert "s3:PutObject" in row
    assert "orders-la" in row
    assert "parquet" in row
    assert "allowed" in row
    assert ("Sid Objects" in row) is (width >= render.WIDE)
    assert len(render.drawn(ALLOWED, width)) == 1


def test_selection() -> None:
    found = [ALLOWED, DENIED]
    assert render.selected(found, denied=True) == [DENIED]
    assert render.selected(found, action="S3:put*") == [ALLOWED]
    assert render.selected(found, who="HD-orders", action="*") == found
    assert render.selected(found, who="nobody") == []


def test_one_line_each_without_a_terminal() -> None:
    assert render.line(DENIED).split("  ")[0] == "03:04:05.678"
    assert "AccessDenied: no statement allows" in render.line(DENIED)
    assert "\n" not in render.line(DENIED)


@pytest.mark.parametrize("width", [40, 80, 139])
def test_calls_on_a_narrow_terminal_are_the_lines_of_follow(width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None, highlight=False)
    render.calls([ALLOWED, DENIED], console, of=2)
    lines = out.getvalue().splitlines()
    assert [line.rstrip() for line in lines] == [
        text.plain.rstrip()
        for text in (render.heading(width), *render.drawn(ALLOWED, width), *render.drawn(DENIED, width))
    ]


def test_nothing_selected_is_not_nothing_asked() -> None:
    for of, says in (
        (0, "no calls yet"),
        (1, "none of 1 call is one of these"),
        (7, "none of 7 calls is one of these"),
    ):
        out = io.StringIO()
        render.calls([], Console(file=out, force_terminal=True, color_system=None, width=80), of=of)
        assert out.getvalue().strip() == says
