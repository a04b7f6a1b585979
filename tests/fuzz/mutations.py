"""Ways to spoil what was right: byte by byte, part by part."""

from __future__ import annotations

from hypothesis import strategies as st

# As the server hands text over: each byte of the wire one character. No CR, LF or NUL, which it takes for itself.
WIRE = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=255), max_size=40)
INTERESTING = (
    "", "%", "%00", "%0a", "%ff", "%2e%2e", "..", "/", "//", "?", "#", "&", "=", "+", " ", "*", "\\", "'", '"', "<", ">", "&amp;",
    "\u00e9", "\x7f", "\t", "9" * 30, "-1", "0", "99991231T235959Z", "00010101T000000Z", "a" * 300, "${aws:username}", "{}", "[" * 200,
)  # fmt: skip


@st.composite
def spoiled(draw: st.DrawFn, original: str) -> str:
    """The text with one to three changes: a character replaced, removed, doubled, inserted, a part cut or an odd text put in."""
    text = original
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(text) - 1, 0)))
        change = draw(st.integers(0, 6))
        char = chr(draw(st.integers(32, 126)))
        if change == 0:
            text = text[:at] + char + text[at + 1 :]
        elif change == 1:
            text = text[:at] + text[at + 1 :]
        elif change == 2:
            text = text[:at] + text[at : at + 1] + text[at:]
        elif change == 3:
            text = text[:at] + char + text[at:]
        elif change == 4:
            text = text[: at + 1]
        elif change == 5:
            text = text[:at] + draw(st.sampled_from(INTERESTING)) + text[at:]
        else:
            until = draw(st.integers(at, len(text)))
            text = text[:at] + text[until:] + text[at:until]
    return text


@st.composite
def spoiled_bytes(draw: st.DrawFn, original: bytes) -> bytes:
    """The same for bytes, any byte."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        change = draw(st.integers(0, 4))
        if change == 0 and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif change == 1 and data:
            del data[at]
        elif change == 2:
            data.insert(at, draw(st.integers(0, 255)))
        elif change == 3:
            del data[at + 1 :]
        else:
            until = draw(st.integers(at, len(data)))
            data[at:at] = data[at:until]
    return bytes(data)
