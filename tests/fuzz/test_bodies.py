"""XML bodies of S3: what cannot be read is MalformedXML, what can be read is answered; nothing is a traceback."""

from __future__ import annotations

import base64
import hashlib

from hypothesis import given
from hypothesis import strategies as st

from .conftest import BUCKET, EVERYDAY, Door, fuzzing
from .mutations import spoiled, spoiled_bytes
from .signing import plain, signed

NS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
# (method, path, query, a body S3 takes there)
BODIES = {
    "delete": ("POST", f"/{BUCKET}", "delete", f"<Delete {NS}><Quiet>true</Quiet><Object><Key>a</Key></Object><Object><Key>b&amp;c</Key><VersionId>null</VersionId></Object></Delete>"),
    "complete": ("POST", f"/{BUCKET}/many", "uploadId=none", f"<CompleteMultipartUpload {NS}><Part><PartNumber>1</PartNumber><ETag>&quot;x&quot;</ETag></Part></CompleteMultipartUpload>"),
    "create": ("PUT", "/fuzzed-other", "", f"<CreateBucketConfiguration {NS}><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>"),
    "tagging": ("PUT", f"/{BUCKET}", "tagging", f"<Tagging {NS}><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"),
    "object tagging": ("PUT", f"/{BUCKET}/present", "tagging", "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"),
    "versioning": ("PUT", f"/{BUCKET}", "versioning", f"<VersioningConfiguration {NS}><Status>Suspended</Status></VersioningConfiguration>"),
    "lifecycle": ("PUT", f"/{BUCKET}", "lifecycle", f"<LifecycleConfiguration {NS}><Rule><ID>x</ID><Status>Enabled</Status><Filter><Prefix>a</Prefix></Filter><Expiration><Days>3</Days></Expiration></Rule></LifecycleConfiguration>"),
    "cors": ("PUT", f"/{BUCKET}", "cors", f"<CORSConfiguration {NS}><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>"),
    "encryption": ("PUT", f"/{BUCKET}", "encryption", f"<ServerSideEncryptionConfiguration {NS}><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"),
    "public access": ("PUT", f"/{BUCKET}", "publicAccessBlock", f"<PublicAccessBlockConfiguration {NS}><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>"),
    "ownership": ("PUT", f"/{BUCKET}", "ownershipControls", f"<OwnershipControls {NS}><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>"),
    "website": ("PUT", f"/{BUCKET}", "website", f"<WebsiteConfiguration {NS}><IndexDocument><Suffix>index.html</Suffix></IndexDocument></WebsiteConfiguration>"),
    "logging": ("PUT", f"/{BUCKET}", "logging", f"<BucketLoggingStatus {NS}/>"),
    "notification": ("PUT", f"/{BUCKET}", "notification", f"<NotificationConfiguration {NS}/>"),
    "replication": ("PUT", f"/{BUCKET}", "replication", f"<ReplicationConfiguration {NS}><Role>arn:aws:iam::123456789012:role/r</Role><Rule><Status>Enabled</Status><Destination><Bucket>arn:aws:s3:::b</Bucket></Destination></Rule></ReplicationConfiguration>"),
    "accelerate": ("PUT", f"/{BUCKET}", "accelerate", f"<AccelerateConfiguration {NS}><Status>Enabled</Status></AccelerateConfiguration>"),
    "acl": ("PUT", f"/{BUCKET}", "acl", f"<AccessControlPolicy {NS}><Owner><ID>x</ID></Owner><AccessControlList/></AccessControlPolicy>"),
    "retention": ("PUT", f"/{BUCKET}/present", "retention", f"<Retention {NS}><Mode>GOVERNANCE</Mode><RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate></Retention>"),
    "legal hold": ("PUT", f"/{BUCKET}/present", "legal-hold", f"<LegalHold {NS}><Status>ON</Status></LegalHold>"),
    "policy": ("PUT", f"/{BUCKET}", "policy", '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::fuzzed/*"}]}'),
    "restore": ("POST", f"/{BUCKET}/present", "restore", f"<RestoreRequest {NS}><Days>1</Days></RestoreRequest>"),
    "select": ("POST", f"/{BUCKET}/present", "select&select-type=2", f"<SelectObjectContentRequest {NS}><Expression>select 1</Expression><ExpressionType>SQL</ExpressionType></SelectObjectContentRequest>"),
}  # fmt: skip
BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><Delete><Object><Key>&b;</Key></Object></Delete>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&a;</Key></Object></Delete>'
ODD = (
    b"", b"<", b"<a/>", b"\x00", b"\xff\xfe<\x00a\x00/\x00>\x00", BOMB.encode(), OUTSIDE.encode(), b"<Delete/>", b"null", b"{}",
    b"<?xml version='1.0' encoding='utf-16'?><Delete/>", b"<?xml version='1.0' encoding='x-no-such'?><a/>", b"<a>" * 20_000,
    b"<Delete>" + b"<Object><Key>a</Key></Object>" * 1001 + b"</Delete>",
)  # fmt: skip
TAGS = (
    "Key",
    "Value",
    "Object",
    "Rule",
    "Status",
    "Part",
    "PartNumber",
    "ETag",
    "Tag",
    "TagSet",
    "ID",
    "Days",
    "Filter",
    "Prefix",
)


@st.composite
def pruned(draw: st.DrawFn, text: str) -> str:
    """The body with an element emptied, removed, doubled, renamed, or its text replaced: well-formed, and not what S3 takes."""
    change = draw(st.integers(0, 4))
    name = draw(st.sampled_from([tag for tag in TAGS if f"<{tag}>" in text] or ["x"]))
    start, end = text.find(f"<{name}>"), text.find(f"</{name}>")
    if start < 0 or end < 0:
        return draw(spoiled(text))
    inner, whole = text[start + len(name) + 2 : end], text[start : end + len(name) + 3]
    new = {
        0: f"<{name}/>",
        1: "",
        2: whole * 2,
        3: whole.replace(name, draw(st.sampled_from(TAGS))),
        4: f"<{name}>{draw(st.sampled_from(['', '-1', '9' * 30, 'x', ' ', '&#65;', '<y/>', '1.5', 'é']))}</{name}>",
    }[change]
    return text[:start] + new + text[start + len(whole) :] if inner is not None else text


def summed(body: bytes) -> dict[str, str]:
    """Content-MD5, which S3 asks for with some of these."""
    return {"content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()}


def test_bodies_as_s3_takes_them(door: Door) -> None:
    """What is spoiled below is not refused as it stands, but for what the bucket has not (a lock, a website's other bucket)."""
    for name, (method, path, query, text) in BODIES.items():
        body = text.encode()
        response = door.knock(signed(plain(method, path, query=query, body=body, headers=summed(body)), door.key))
        assert b"MalformedXML" not in response.read(), name


@EVERYDAY
def test_bodies_of_s3(door: Door, examples: int) -> None:
    def check(name: str, data: st.DataObject) -> None:
        method, path, query, text = BODIES[name]
        body = data.draw(
            st.one_of(
                pruned(text).map(str.encode),
                spoiled(text).map(str.encode),
                spoiled_bytes(text.encode()),
                st.sampled_from(ODD),
                st.binary(max_size=30),
            )
        )
        door.knock(signed(plain(method, path, query=query, body=body, headers=summed(body)), door.key))

    fuzzing(examples)(given(st.sampled_from(sorted(BODIES)), st.data())(check))()


def test_entities_are_never_read(door: Door) -> None:
    for text in (BOMB, OUTSIDE):
        response = door.knock(
            signed(
                plain("POST", f"/{BUCKET}", query="delete", body=text.encode(), headers=summed(text.encode())), door.key
            )
        )
        assert response.status == 400
        assert b"MalformedXML" in response.read()
        assert door.reached == []
