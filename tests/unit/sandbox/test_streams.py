"""aws-chunked bodies: AWS's own worked examples, and each way of getting one wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import zlib

import pytest

from towpath.sandbox.errors import AwsError
from towpath.sandbox.s3 import checksums, streams
from towpath.sandbox.s3.streams import ChunkSigner, Decoder

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
LENGTH = 66_560
# "Signature calculations … transferring payload in multiple chunks", S3 API reference: seed, then each chunk's signature.
PLAIN = (
    "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
)
# "Signature calculations for trailing headers", S3 API reference.
TRAILING = (
    "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
)
TRAILER = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"
CRC32C = "sOO8/Q=="
CONTENT = b"a" * LENGTH


def signer(seed: str) -> ChunkSigner:
    key = b"AWS4" + SECRET.encode()
    for part in ("20130524", "us-east-1", "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return ChunkSigner(key=key, timestamp="20130524T000000Z", scope="20130524/us-east-1/s3/aws4_request", seed=seed)


def body(signatures: tuple[str, ...], trailer: str = "") -> bytes:
    parts = (CONTENT[:65_536], CONTENT[65_536:], b"")
    out = b""
    for part, signature in zip(parts, signatures[1:], strict=True):
        out += f"{len(part):x};chunk-signature={signature}\r\n".encode() + part + (b"\r\n" if part else b"")
    return out + (trailer.encode() if trailer else b"\r\n")


def unsigned(content: bytes, trailer: str, *, chunk: int = 65_536) -> bytes:
    out = b""
    for start in range(0, len(content), chunk):
        part = content[start : start + chunk]
        out += f"{len(part):x}\r\n".encode() + part + b"\r\n"
    return out + b"0\r\n" + trailer.encode() + b"\r\n"


def decoded(text: bytes, mode: str, **headers: str) -> tuple[bytes, dict[str, str]]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    names.setdefault("x-amz-decoded-content-length", str(LENGTH))
    seed = {streams.SIGNED: PLAIN[0], streams.SIGNED_TRAILER: TRAILING[0]}.get(mode)
    found = Decoder(io.BytesIO(text), mode=mode, headers=names, signer=signer(seed) if seed else None)
    return b"".join(found), found.trailers


def test_aws_example_of_signed_chunks() -> None:
    assert decoded(body(PLAIN), streams.SIGNED) == (CONTENT, {})


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\r\n"])
def test_aws_example_of_a_signed_trailer(end: str) -> None:
    trailer = f"x-amz-checksum-crc32c:{CRC32C}{end}x-amz-trailer-signature:{TRAILER}\r\n\r\n"
    found = decoded(body(TRAILING, trailer), streams.SIGNED_TRAILER, x_amz_trailer="x-amz-checksum-crc32c")
    assert found == (CONTENT, {"x-amz-checksum-crc32c": CRC32C})


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda text: text.replace(b"aaaa", b"aaab", 1), "SignatureDoesNotMatch"),
        (lambda text: text[:200] + b"b" + text[201:], "SignatureDoesNotMatch"),
        (lambda text: text.replace(PLAIN[2].encode(), PLAIN[1].encode()), "SignatureDoesNotMatch"),
        (lambda text: text.replace(PLAIN[3].encode(), PLAIN[1].encode()), "SignatureDoesNotMatch"),
        (lambda text: text[: text.rindex(b"0;chunk")], "IncompleteBody"),
        (lambda text: text[:-120], "IncompleteBody"),
        (lambda text: text[:1000], "IncompleteBody"),
        (lambda text: text.replace(b";chunk-signature=" + PLAIN[1].encode(), b""), "IncompleteBody"),
        (lambda text: text.replace(b"10000;", b"fffffffffffffff;", 1), "IncompleteBody"),
        (lambda text: text.replace(b"10000;", b"-1;", 1), "IncompleteBody"),
        (lambda text: text + b"x-amz-checksum-crc32:AAAAAA==\r\n", "MalformedTrailerError"),
        (lambda text: text[:0], "IncompleteBody"),
    ],
)
def test_signed_chunks_that_were_changed(change: object, code: str) -> None:
    assert decoded(body(PLAIN), streams.SIGNED)[0] == CONTENT
    with pytest.raises(AwsError, match=code):
        decoded(change(body(PLAIN)), streams.SIGNED)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("trailer", "code"),
    [
        (f"x-amz-checksum-crc32c:{CRC32C}\r\n", "SignatureDoesNotMatch"),
        (f"x-amz-checksum-crc32c:{CRC32C}\r\nx-amz-trailer-signature:{TRAILER[:-1]}0\r\n", "SignatureDoesNotMatch"),
        (f"x-amz-checksum-crc32c:AAAAAA==\r\nx-amz-trailer-signature:{TRAILER}\r\n", "SignatureDoesNotMatch"),
        (f"x-amz-trailer-signature:{TRAILER}\r\n", "MalformedTrailerError"),
        (f"x-amz-trailer-signature:{TRAILER}\r\nx-amz-checksum-crc32c:{CRC32C}\r\n", "MalformedTrailerError"),
        (f"x-amz-meta-a:b\r\nx-amz-checksum-crc32c:{CRC32C}\r\n", "MalformedTrailerError"),
        ("nonsense\r\n", "MalformedTrailerError"),
    ],
)
def test_trailers_that_were_changed(trailer: str, code: str) -> None:
    good = f"x-amz-checksum-crc32c:{CRC32C}\r\nx-amz-trailer-signature:{TRAILER}\r\n"
    assert decoded(body(TRAILING, good), streams.SIGNED_TRAILER, x_amz_trailer="x-amz-checksum-crc32c")[0] == CONTENT
    with pytest.raises(AwsError, match=code):
        decoded(body(TRAILING, trailer), streams.SIGNED_TRAILER, x_amz_trailer="x-amz-checksum-crc32c")


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


CHECKSUMS = {
    "crc32": _base64(zlib.crc32(CONTENT).to_bytes(4, "big")),
    "crc32c": CRC32C,
    "sha1": _base64(hashlib.sha1(CONTENT, usedforsecurity=False).digest()),
    "sha256": _base64(hashlib.sha256(CONTENT).digest()),
    "sha512": _base64(hashlib.sha512(CONTENT).digest()),
    "md5": _base64(hashlib.md5(CONTENT, usedforsecurity=False).digest()),
}


@pytest.mark.parametrize("name", sorted(CHECKSUMS))
def test_trailing_checksum_is_verified(name: str) -> None:
    header = f"x-amz-checksum-{name}"
    good = unsigned(CONTENT, f"{header}:{CHECKSUMS[name]}\r\n")
    assert decoded(good, streams.UNSIGNED_TRAILER, x_amz_trailer=header) == (CONTENT, {header: CHECKSUMS[name]})
    with pytest.raises(AwsError, match=f"BadDigest: The {name.upper()} you specified did not match"):
        decoded(good.replace(b"aa", b"ab", 1), streams.UNSIGNED_TRAILER, x_amz_trailer=header)
    with pytest.raises(AwsError, match=f"InvalidRequest: Value for {header} header is invalid"):
        decoded(unsigned(CONTENT, f"{header}:AAAA\r\n"), streams.UNSIGNED_TRAILER, x_amz_trailer=header)


def test_check_values_of_the_crcs() -> None:
    """The catalogues' check values: the CRC of `123456789`."""
    for name, value in (("crc32", 0xCBF43926), ("crc32c", 0xE3069283), ("crc64nvme", 0xAE8B14860A799888)):
        checksum = checksums.new(name)
        checksum.update(b"1234")
        checksum.update(b"56789")
        assert int.from_bytes(checksum.digest(), "big") == value, name
        assert checksums.new(name).digest() == bytes(8 if name == "crc64nvme" else 4)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x_amz_decoded_content_length": str(LENGTH - 1)}, "IncompleteBody"),
        ({"x_amz_decoded_content_length": str(LENGTH + 1)}, "IncompleteBody"),
        ({"x_amz_decoded_content_length": "many"}, "InvalidArgument"),
        ({"x_amz_trailer": "x-amz-meta-owner"}, "InvalidRequest"),
        ({"x_amz_trailer": "x-amz-checksum-crc32,x-amz-checksum-sha1"}, "InvalidRequest"),
        ({"x_amz_trailer": ""}, "InvalidRequest"),
        ({"x_amz_trailer": "x-amz-checksum-xxhash64"}, "NotImplemented"),
        ({"x_amz_checksum_sha1": CHECKSUMS["sha1"]}, "InvalidRequest"),
    ],
)
def test_headers_of_a_stream(headers: dict[str, str], code: str) -> None:
    header = "x-amz-checksum-crc32"
    good = unsigned(CONTENT, f"{header}:{CHECKSUMS['crc32']}\r\n")
    assert decoded(good, streams.UNSIGNED_TRAILER, x_amz_trailer=header)[0] == CONTENT
    with pytest.raises(AwsError, match=code):
        decoded(good, streams.UNSIGNED_TRAILER, **{"x_amz_trailer": header, **headers})


def test_length_is_asked_for() -> None:
    with pytest.raises(AwsError, match="MissingContentLength"):
        Decoder(
            io.BytesIO(),
            mode=streams.UNSIGNED_TRAILER,
            headers={"x-amz-trailer": "x-amz-checksum-crc32"},
        )


def test_only_the_last_chunk_is_small() -> None:
    header = "x-amz-checksum-crc32"
    trailer = f"{header}:{CHECKSUMS['crc32']}\r\n"
    assert decoded(unsigned(CONTENT, trailer, chunk=8192), streams.UNSIGNED_TRAILER, x_amz_trailer=header)[0] == CONTENT
    with pytest.raises(AwsError, match="InvalidChunkSizeError"):
        decoded(unsigned(CONTENT, trailer, chunk=8191), streams.UNSIGNED_TRAILER, x_amz_trailer=header)


def test_unsigned_chunks_in_a_signed_mode_and_the_other_way() -> None:
    trailer = f"x-amz-checksum-crc32:{CHECKSUMS['crc32']}\r\n"
    with pytest.raises(AwsError, match="IncompleteBody"):
        decoded(unsigned(CONTENT, ""), streams.SIGNED)
    with pytest.raises(AwsError, match="IncompleteBody"):
        decoded(body(PLAIN, trailer), streams.UNSIGNED_TRAILER, x_amz_trailer="x-amz-checksum-crc32")
    with pytest.raises(AwsError, match="InvalidRequest"):
        Decoder(io.BytesIO(body(PLAIN)), mode=streams.SIGNED, headers={"x-amz-decoded-content-length": "1"})


def test_headers_of_the_content_alone() -> None:
    headers = {
        "content-encoding": "aws-chunked, gzip",
        "x-amz-decoded-content-length": "3",
        "x-amz-trailer": "x-amz-checksum-crc32",
        "x-amz-content-sha256": streams.UNSIGNED_TRAILER,
        "x-amz-meta-a": "b",
    }
    assert streams.plain_headers(headers, {"x-amz-checksum-crc32": "AAAAAA=="}) == {
        "content-encoding": "gzip",
        "x-amz-meta-a": "b",
        "x-amz-checksum-crc32": "AAAAAA==",
    }
    assert "content-encoding" not in streams.plain_headers({"content-encoding": "aws-chunked"}, {})
