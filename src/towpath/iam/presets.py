"""Ready-made permissions for what a pipeline does, and nothing beyond it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from towpath.errors import UsageError
from towpath.iam import arn as arns
from towpath.iam import partition as partitions

_ACCESS: Final = {
    "read": ["s3:GetObject"],
    "write": ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
}
_ACCESS["read-write"] = [*_ACCESS["read"], *_ACCESS["write"]]


def s3_statements(*, partition: str, bucket: str, prefix: str = "", access: str = "read-write") -> list[dict[str, Any]]:
    """Statements for objects under `prefix` ("" is the whole bucket). `access`: read, write or read-write.

    The bucket's own actions do not take a prefix in their ARN, so listing is limited by the condition key s3:prefix.
    """
    if not arns.BUCKET_NAME.fullmatch(bucket):
        raise _bad("bucket", bucket, "give its name: 3 to 63 lower-case letters, digits, '-' and '.', no pattern")
    if set(prefix) & set("*?$"):
        raise _bad(
            "prefix", prefix, "give what keys begin with, as raw/: *, ? and $ have a meaning of their own in a policy"
        )
    if access not in _ACCESS:
        raise _bad("access", access, f"use one of {', '.join(_ACCESS)}")
    bucket_arn = str(arns.bucket_arn(partition=partition, bucket=bucket))
    listing: dict[str, Any] = {"Sid": "List", "Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket_arn}
    if prefix:
        listing["Condition"] = {"StringLike": {"s3:prefix": sorted({prefix, prefix.rstrip("/"), f"{prefix}*"})}}
    return [
        listing,
        {
            "Sid": "Bucket",
            "Effect": "Allow",
            "Action": ["s3:GetBucketLocation", "s3:ListBucketMultipartUploads"],
            "Resource": bucket_arn,
        },
        {"Sid": "Objects", "Effect": "Allow", "Action": _ACCESS[access], "Resource": f"{bucket_arn}/{prefix}*"},
    ]


def glue_statements(
    *, partition: str, region: str, account: str, database: str, table: str = "*"
) -> list[dict[str, Any]]:
    """Reading one database of the Glue catalogue, or one table of it.

    Glue asks for the catalogue, the database and the table, each by its ARN ("Access to Data Catalog resources", Glue Developer Guide).
    """
    _plain(database=database)
    base = f"arn:{partition}:glue:{region}:{account}"
    return [
        {
            "Sid": "Catalogue",
            "Effect": "Allow",
            "Action": [
                "glue:GetDatabase",
                "glue:GetTable",
                "glue:GetTables",
                "glue:GetPartition",
                "glue:GetPartitions",
                "glue:BatchGetPartition",
            ],
            "Resource": [f"{base}:catalog", f"{base}:database/{database}", f"{base}:table/{database}/{table}"],
        }
    ]


def athena_statements(
    *, partition: str, region: str, account: str, database: str, table: str = "*", workgroup: str = "primary"
) -> list[dict[str, Any]]:
    """Queries in one workgroup over one database. The bucket of the data and the one of the results need the s3 preset beside it."""
    _plain(workgroup=workgroup)
    return [
        {
            "Sid": "Queries",
            "Effect": "Allow",
            "Action": [
                "athena:StartQueryExecution",
                "athena:GetQueryExecution",
                "athena:GetQueryResults",
                "athena:StopQueryExecution",
                "athena:GetWorkGroup",
            ],
            "Resource": f"arn:{partition}:athena:{region}:{account}:workgroup/{workgroup}",
        },
        *glue_statements(partition=partition, region=region, account=account, database=database, table=table),
    ]


def secret_statements(*, partition: str, region: str, account: str, secret: str) -> list[dict[str, Any]]:
    """Reading one secret. Secrets Manager puts a hyphen and six characters of its own behind the name in the ARN."""
    if not re.fullmatch(r"[A-Za-z0-9/_+=.@-]{1,512}", secret):
        raise _bad("secret", secret, "give its name, as data/orders-db")
    return [
        {
            "Sid": "Secret",
            "Effect": "Allow",
            "Action": ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"],
            "Resource": f"arn:{partition}:secretsmanager:{region}:{account}:secret:{secret}-??????",
        }
    ]


def kms_statements(*, partition: str, region: str, account: str, key: str, via: str = "") -> list[dict[str, Any]]:
    """Decrypting with one key; `via` a service alone, as s3, so that nothing is decrypted but what that service holds.

    A policy names a key by its id: an alias in an ARN is not the key ("Key ARNs in IAM policies", KMS Developer Guide).
    """
    if not re.fullmatch(r"(mrk-)?[0-9a-f-]{32,36}", key):
        raise _bad("key", key, "give the key's id, not its alias: aws kms describe-key --key-id alias/NAME")
    statement: dict[str, Any] = {
        "Sid": "Decrypt",
        "Effect": "Allow",
        "Action": "kms:Decrypt",
        "Resource": f"arn:{partition}:kms:{region}:{account}:key/{key}",
    }
    if via:
        _plain(via=via)
        statement["Condition"] = {
            "StringEquals": {"kms:ViaService": f"{via}.{region}.{partitions.by_name(partition).dns_suffix}"}
        }
    return [statement]


def rds_statements(*, partition: str, region: str, account: str, database: str, user: str) -> list[dict[str, Any]]:
    """Connecting to one database as one user, with a token in place of a password.

    `database` is the resource id (db-…, cluster-…, prx-…), not the name ("Creating and using an IAM policy for IAM database access").
    """
    if not re.fullmatch(r"(db|cluster|prx)-[A-Za-z0-9]+", database):
        raise _bad("database", database, "give its resource id, as db-ABCDEFGHIJKL01234: aws rds describe-db-instances")
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", user):
        raise _bad("user", user, "give a database user's name")
    return [
        {
            "Sid": "Connect",
            "Effect": "Allow",
            "Action": "rds-db:connect",
            "Resource": f"arn:{partition}:rds-db:{region}:{account}:dbuser:{database}/{user}",
        }
    ]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What it is for, which values it needs and which it takes besides."""

    what: str
    needs: tuple[str, ...]
    takes: tuple[str, ...] = ()
    statements: Callable[..., list[dict[str, Any]]]


_WHERE: Final = ("region", "account")
PRESETS: Final[dict[str, Preset]] = {
    "s3": Preset(
        what="read, write or read-write one bucket, or one prefix of it: list what is there, and get, put and delete objects",
        needs=("bucket",),
        takes=("prefix", "access"),
        statements=s3_statements,
    ),
    "glue": Preset(
        what="read one database of the Glue catalogue, or one table of it",
        needs=(*_WHERE, "database"),
        takes=("table",),
        statements=glue_statements,
    ),
    "athena": Preset(
        what="run queries in one workgroup over one database (the buckets need s3 beside it)",
        needs=(*_WHERE, "database"),
        takes=("table", "workgroup"),
        statements=athena_statements,
    ),
    "secret": Preset(
        what="read one secret of Secrets Manager", needs=(*_WHERE, "secret"), statements=secret_statements
    ),
    "kms": Preset(what="decrypt with one key", needs=(*_WHERE, "key"), takes=("via",), statements=kms_statements),
    "rds": Preset(
        what="connect to one RDS database as one user, without a password",
        needs=(*_WHERE, "database", "user"),
        statements=rds_statements,
    ),
}


def statements(name: str, options: Mapping[str, str], *, partition: str = "aws") -> list[dict[str, Any]]:
    """The statements of a preset. Raises UsageError for an unknown one, and for an option it needs or does not take."""
    preset = PRESETS.get(name)
    if preset is None:
        raise UsageError(
            f"{name!r} is no preset", where="towpath policy presets", todo=f"use one of {', '.join(PRESETS)}"
        )
    missing = [option for option in preset.needs if not options.get(option)]
    if missing:
        raise UsageError(
            f"the preset {name} needs {' and '.join('--' + option for option in missing)}",
            where="towpath policy presets",
            todo=f"give {' '.join(f'--{option} {option.upper()}' for option in preset.needs)}",
        )
    strange = [option for option in options if option not in {*preset.needs, *preset.takes}]
    if strange:
        raise UsageError(
            f"the preset {name} takes no --{strange[0]}",
            where="towpath policy presets",
            todo=f"it takes {', '.join('--' + option for option in (*preset.needs, *preset.takes))}",
        )
    if "account" in options and not re.fullmatch(r"\d{12}", options["account"]):
        raise _bad("account", options["account"], "give twelve digits")
    if "region" in options and not partitions.REGION.fullmatch(options["region"]):
        raise _bad("region", options["region"], "give a region's code, as eu-west-1")
    return preset.statements(partition=partition, **options)


def _plain(**values: str) -> None:
    for name, value in values.items():
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", value):
            raise _bad(name, value, "give its name alone")


def _bad(name: str, value: str, todo: str) -> UsageError:
    return UsageError(f"{value!r} is no {name}", where=f"--{name}", todo=todo)
