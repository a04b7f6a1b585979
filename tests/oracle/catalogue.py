"""What the generator draws from: callers, things that can be asked for, and condition keys with the values they can have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

HOME: Final = "111111111111"
AWAY: Final = "222222222222"
ISSUER: Final = "oidc.eks.eu-west-1.amazonaws.com/id/F00D"
PROVIDER: Final = f"arn:aws:iam::{HOME}:oidc-provider/{ISSUER}"
SAML: Final = f"arn:aws:iam::{HOME}:saml-provider/Login"


@dataclass(frozen=True, kw_only=True)
class Who:
    """A caller: the kind of principal, its text, and the role behind a session."""

    kind: str
    principal: str | None
    role_arn: str | None = None


USERS: Final = (
    Who(kind="user", principal=f"arn:aws:iam::{HOME}:user/ann"),
    Who(kind="user", principal=f"arn:aws:iam::{HOME}:user/team/bob"),
    Who(
        kind="session",
        principal=f"arn:aws:sts::{HOME}:assumed-role/etl/run-1",
        role_arn=f"arn:aws:iam::{HOME}:role/etl",
    ),
    Who(
        kind="session",
        principal=f"arn:aws:sts::{HOME}:assumed-role/etl/run-1",
        role_arn=f"arn:aws:iam::{HOME}:role/data/etl",
    ),
    Who(kind="federated user", principal=f"arn:aws:sts::{HOME}:federated-user/ann"),
    Who(kind="root", principal=f"arn:aws:iam::{HOME}:root"),
    Who(kind="service", principal="lambda.amazonaws.com"),
    Who(kind="anonymous", principal=None),
)
# Drawn from: the plain ones twice.
CALLERS: Final = (*USERS[:5], *USERS)
FEDERATED: Final = (
    Who(kind="federated", principal=PROVIDER),
    Who(kind="federated", principal=SAML),
)
# What a Principal element may hold beside the caller itself; the last ones never are the caller.
PRINCIPALS: Final = (
    ("*", "*"),
    ("AWS", "*"),
    ("AWS", HOME),
    ("AWS", f"arn:aws:iam::{HOME}:root"),
    ("AWS", f"arn:aws:iam::{HOME}:role/etl"),
    ("AWS", f"arn:aws:iam::{HOME}:role/data/etl"),
    ("AWS", f"arn:aws:iam::{HOME}:user/ann"),
    ("AWS", f"arn:aws:sts::{HOME}:assumed-role/etl/run-1"),
    ("AWS", f"arn:aws:sts::{HOME}:federated-user/ann"),
    ("Service", "lambda.amazonaws.com"),
    ("Federated", PROVIDER),
    ("Federated", SAML),
    ("AWS", AWAY),
    ("AWS", f"arn:aws:sts::{HOME}:assumed-role/etl/run-2"),
    ("AWS", f"arn:aws:iam::{HOME}:user/Ann"),
    ("Service", "ec2.amazonaws.com"),
    ("Federated", PROVIDER + "2"),
    ("CanonicalUser", "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"),
)

# (action, resource) pairs as services name them: with and without region and account, with / and : in the resource, and with
# characters that mean something to a pattern, a regular expression or a variable.
TARGETS: Final = (
    ("s3:GetObject", "arn:aws:s3:::lake/ann/part-1.parquet"),
    ("s3:PutObject", "arn:aws:s3:::lake/data/a b/c+d.txt"),
    ("s3:GetObject", "arn:aws:s3:::lake/what?[x]/{y}$.(z)|^"),
    ("s3:GetObject", "arn:aws:s3:::lake/${aws:username}/x"),
    ("s3:GetObject", "arn:aws:s3:::lake/a:b:c//d"),
    ("s3:GetObject", "arn:aws:s3:::lake/ärger/☃"),
    ("s3:GetObject", "arn:aws:s3:::lake/🦀/two\nlines"),
    ("s3:ListBucket", "arn:aws:s3:::lake"),
    ("s3:ListAllMyBuckets", "*"),
    ("sqs:SendMessage", f"arn:aws:sqs:eu-west-1:{HOME}:jobs-ann"),
    ("sns:Publish", f"arn:aws:sns:us-east-1:{HOME}:news"),
    ("dynamodb:GetItem", f"arn:aws:dynamodb:eu-west-1:{HOME}:table/orders"),
    ("lambda:InvokeFunction", f"arn:aws:lambda:eu-west-1:{HOME}:function:data:live"),
    ("logs:PutLogEvents", f"arn:aws:logs:eu-west-1:{HOME}:log-group:/aws/ann:log-stream:x"),
    ("secretsmanager:GetSecretValue", f"arn:aws-cn:secretsmanager:cn-north-1:{HOME}:secret:db-AbCdEf"),
    ("ec2:RunInstances", f"arn:aws:ec2:eu-west-1:{HOME}:instance/i-1"),
    ("iam:GetRole", f"arn:aws:iam::{HOME}:role/data/etl"),
    ("sts:AssumeRole", f"arn:aws:iam::{HOME}:role/hd-orders"),
    ("kms:Decrypt", f"arn:aws:kms:eu-west-1:{HOME}:key/11111111-2222-3333-4444-555555555555"),
)
ACTIONS: Final = {
    "s3": ("s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "S3:getobject", "s3:ListBucket", "s3:DeleteObject"),
    "sts": ("sts:AssumeRole", "sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:GetCallerIdentity"),
    "iam": ("iam:GetRole", "iam:PassRole", "iam:ListRoles"),
}

# Condition keys by the type of their values, with values a request may carry.
STRINGS: Final = {
    "aws:username": ("ann", "bob", "Ann", ""),
    "aws:PrincipalTag/Team": ("data", "Data", "a*b", "x?y", "${*}"),
    "aws:userid": ("AROAEXAMPLE:run-1", "AIDAEXAMPLE"),
    "aws:RequestedRegion": ("eu-west-1", "us-east-1"),
    "s3:prefix": ("ann/", "ann/raw/x", "data/a.b", "line\nbreak", ""),
    "aws:SourceVpce": ("vpce-1a2b3c4d",),
    "ec2:InstanceType": ("t3.micro", "T3.MICRO", "m5.large"),
}
NUMBERS: Final = {
    "s3:max-keys": ("10", "1000", "0", "-1", "10.0", "9.99", "1e3"),
    "aws:MultiFactorAuthAge": ("300", "3600", "0"),
}
DATES: Final = {
    "aws:CurrentTime": ("2026-06-01T12:00:00Z", "2026-06-01T14:00:00+02:00", "2020-01-01T00:00:00Z"),
    "aws:EpochTime": ("1780315200", "1577836800"),
    "aws:TokenIssueTime": ("2026-06-01T11:30:00Z",),
}
BOOLEANS: Final = {
    "aws:SecureTransport": ("true", "false"),
    "aws:MultiFactorAuthPresent": ("true", "false"),
    "aws:ViaAWSService": ("false", "TRUE"),
}
ADDRESSES: Final = {
    "aws:SourceIp": ("203.0.113.7", "10.1.2.3", "2001:db8::1", "2001:0DB8:0:0:0:0:0:1", "255.255.255.255"),
    "aws:VpcSourceIp": ("10.0.0.1", "::1"),
}
ARNS: Final = {
    "aws:PrincipalArn": (f"arn:aws:iam::{HOME}:role/data/etl", f"arn:aws:iam::{HOME}:user/ann"),
    "aws:SourceArn": ("arn:aws:s3:::lake", f"arn:aws:sns:eu-west-1:{HOME}:news", "arn:aws:s3:::lake/a:b", "no-arn"),
}
BINARIES: Final = {"test:Digest": ("QUJD", "QUI=", "AAAA")}
# Keys that carry several values; AWS asks for a set operator with them.
SEVERAL: Final = {
    "aws:TagKeys": ("Team", "Owner", "team", "cost-centre"),
    "aws:CalledVia": ("athena.amazonaws.com", "cloudformation.amazonaws.com"),
    "dynamodb:Attributes": ("id", "name", "secret"),
    "test:Numbers": ("1", "2", "30"),
    "test:Addresses": ("10.0.0.1", "192.0.2.9"),
    "test:Arns": ("arn:aws:s3:::lake", "arn:aws:s3:::pond"),
    "test:Dates": ("2026-06-01T12:00:00Z", "2020-01-01T00:00:00Z"),
    "test:Booleans": ("true", "false"),
    "test:Digests": ("QUJD", "AAAA"),
}
SINGLE: Final = {**STRINGS, **NUMBERS, **DATES, **BOOLEANS, **ADDRESSES, **ARNS, **BINARIES}
# <issuer>:sub and :aud are a token's claims; both stand in a request as one text each.
CLAIMS: Final = {
    f"{ISSUER}:sub": ("system:serviceaccount:data:hd-job-sa", "system:serviceaccount:other:hd-job-sa"),
    f"{ISSUER}:aud": ("sts.amazonaws.com", "other"),
    "sts:RoleSessionName": ("run-1", "run-2"),
    "aws:RequestTag/Team": ("data", "Data"),
}
EXCHANGES: Final = (
    ("sts:AssumeRoleWithWebIdentity", f"arn:aws:iam::{HOME}:role/hd-orders"),
    ("sts:AssumeRoleWithSAML", f"arn:aws:iam::{HOME}:role/hd-orders"),
    ("sts:AssumeRole", f"arn:aws:iam::{HOME}:role/hd-orders"),
    ("sts:TagSession", f"arn:aws:iam::{HOME}:role/hd-orders"),
)

OPERATORS_BY_TYPE: Final = {
    "string": (
        "StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike",
    ),
    "number": (
        "NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan",
        "NumericGreaterThanEquals",
    ),
    "date": ("DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals"),
    "boolean": ("Bool",),
    "binary": ("BinaryEquals",),
    "address": ("IpAddress", "NotIpAddress"),
    "arn": ("ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"),
    "null": ("Null",),
}  # fmt: skip
OPERATORS: Final = tuple((kind, name) for kind, names in OPERATORS_BY_TYPE.items() for name in names)
KEYS_BY_TYPE: Final = {
    "string": (*STRINGS, "aws:TagKeys", "aws:CalledVia", "dynamodb:Attributes"),
    "number": (*NUMBERS, "test:Numbers"),
    "date": (*DATES, "test:Dates"),
    "boolean": (*BOOLEANS, "test:Booleans"),
    "binary": (*BINARIES, "test:Digests"),
    "address": (*ADDRESSES, "test:Addresses"),
    "arn": (*ARNS, "test:Arns"),
    "null": (*SINGLE, *SEVERAL),
}
# Policy values of each type, matching or not, in every spelling AWS's pages show.
VALUES: Final = {
    "string": (
        "ann", "ANN", "data", "eu-*", "*", "?*", "", "a*", "line*k", "line?break", "*.micro", "ann/*", "Team", "Owner", "athena.amazonaws.com", "id", "x",
        "${aws:username}", "${AWS:UserName}/raw/*", "${aws:PrincipalTag/Team}", "${aws:PrincipalTag/Missing, 'ann'}",
        "${aws:username, 'ann'}", "${aws:PrincipalTag/Missing}", "${aws:TagKeys}", "${*}", "a${*}b", "x${?}y", "${$}{*}", "${", "${}",
        "a$b", "${aws:userid", "${aws:PrincipalTag/Missing, ''}", "${aws:PrincipalTag/Missing,'ann'}", "${ aws:username }",
    ),
    "number": ("10", "1000", "0", "-1", "10.0", "9.5", "300", "2", "30", 10, 1000),
    "date": (
        "2026-06-01T12:00:00Z", "2026-06-01", "2026-06", "2026", "2026-06-01T14:00:00+02:00", "2020-01-01T00:00:00Z", "1780315200",
        "1577836800", "2026-06-01T12:00:00.000Z", "2026-06-01T12:00Z", 1577836800,
    ),
    "boolean": ("true", "false", "True", "FALSE", True, False),
    "binary": ("QUJD", "QUI=", "AAAA"),
    "address": (
        "203.0.113.0/24", "203.0.113.7", "203.0.113.7/32", "10.0.0.0/8", "0.0.0.0/0", "10.1.2.3/8", "2001:db8::/32", "2001:db8::1",
        "::/0", "2001:DB8::1", "255.255.255.255/32", "::1/128", "192.0.2.0/24", "10.0.0.0/31",
    ),
    "arn": (
        f"arn:aws:iam::{HOME}:role/data/etl", f"arn:aws:iam::{HOME}:role/*", "arn:aws:iam::*:role/data/e?l", "arn:aws:s3:::lake",
        "arn:aws:s3:::*", f"arn:aws:sns:*:{HOME}:*", "arn:*:s3:::lake", "arn:aws:s3:::lake/*", "arn:aws:s3:::LAKE", "*",
        "arn:aws:iam::*:user/${aws:username}", "arn:aws:*:*:*:*", "arn:aws:s3:*:*:pond",
    ),
    "null": ("true", "false", "TRUE", True, False),
}  # fmt: skip
