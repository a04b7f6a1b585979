"""What IAM's grammar allows in a policy: names of elements, operators, the syntax of actions and resources.

Source: "Grammar of the IAM JSON policy language" and "IAM JSON policy elements: Condition operators", IAM User Guide.
"""

from __future__ import annotations

import re
from typing import Final

VERSIONS: Final = ("2012-10-17", "2008-10-17")
DOCUMENT_ELEMENTS: Final = ("Version", "Id", "Statement")
STATEMENT_ELEMENTS: Final = (
    "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition",
)  # fmt: skip
PRINCIPAL_TYPES: Final = ("AWS", "Federated", "Service", "CanonicalUser")
OPERATORS: Final = (
    "StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike",
    "NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals",
    "DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals",
    "Bool", "BinaryEquals", "IpAddress", "NotIpAddress",
    "ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike", "Null",
)  # fmt: skip
SET_OPERATORS: Final = ("ForAllValues", "ForAnyValue")

ACTION: Final = re.compile(r"\*|[A-Za-z0-9*?-]+:[A-Za-z0-9*?-]+")
IDENTITY_SID: Final = re.compile(r"[A-Za-z0-9]*")
RESOURCE: Final = re.compile(r"\*|arn:[A-Za-z0-9*?-]*:[A-Za-z0-9*?-]*:[^:]*:[^:]*:.*", re.DOTALL)
# Fewer than six fields: IAM completes them with *, in a policy of an identity ("Amazon Resource Names (ARNs)", IAM User Guide).
SHORT_RESOURCE: Final = re.compile(r"arn:[A-Za-z0-9*?-]*(:[^:]*){1,3}")


def split_operator(text: str) -> tuple[str | None, str, bool] | None:
    """`ForAnyValue:StringLikeIfExists` -> ("ForAnyValue", "StringLike", True); None for what is no operator.

    IAM reads operator names without regard to case; Null takes no IfExists.
    """
    prefix, colon, rest = text.partition(":")
    quantifier = next((name for name in SET_OPERATORS if colon and name.lower() == prefix.lower()), None)
    if colon and quantifier is None:
        return None
    name = rest if colon else text
    if_exists = name.lower().endswith("ifexists")
    base = name[: -len("IfExists")] if if_exists else name
    operator = next((known for known in OPERATORS if known.lower() == base.lower()), None)
    if operator is None or (operator == "Null" and if_exists):
        return None
    return quantifier, operator, if_exists
