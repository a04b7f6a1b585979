"""aws:RequestTag and aws:TagKeys: the tags a call of any service but S3 brings, whichever way its protocol writes them.

Source: "Controlling access to AWS resources using tags", IAM User Guide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, cast

from towpath.iam.context import Value

# Tags.member.1.Key (query), Tag.1.Key and TagSpecification.1.Tag.1.Key (ec2).
_QUERY: Final = re.compile(r"(?:.+\.)?(?:Tags\.(?:member|entry|Tag)|Tag)\.(?P<number>\d+)\.(?P<part>[Kk]ey|[Vv]alue)")
_TAG_KEYS: Final = re.compile(r"(?:TagKeys\.member|TagKey)\.\d+")


def of_parameters(parameters: Mapping[str, Any]) -> dict[str, Value]:
    """Condition keys of the tags in a call's parameters; none when it brings none."""
    found = {**_of_query(parameters), **_of_json(parameters)}
    names = [*found, *_removed(parameters)]
    if not names:
        return {}
    keys: dict[str, Value] = {f"aws:RequestTag/{name}": value for name, value in found.items()}
    return {**keys, "aws:TagKeys": names}


def _of_query(parameters: Mapping[str, Any]) -> dict[str, str]:
    parts: dict[str, dict[str, str]] = {}
    for name, value in parameters.items():
        match = _QUERY.fullmatch(name)
        if match:
            group = name[: match.start("part")]
            parts.setdefault(group, {})[match["part"].lower()] = str(value)
    return {tag["key"]: tag.get("value", "") for tag in parts.values() if "key" in tag}


def _of_json(parameters: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in ("Tags", "tags", "TagList", "tagging"):
        value = parameters.get(name)
        if isinstance(value, dict):
            found |= {str(key): str(each) for key, each in cast("dict[object, object]", value).items()}
        elif isinstance(value, list):
            for item in cast("list[object]", value):
                if isinstance(item, dict):
                    tag = {str(key).lower(): each for key, each in cast("dict[object, object]", item).items()}
                    key = tag.get("key", tag.get("tagkey"))
                    if isinstance(key, str):
                        found[key] = str(tag.get("value", tag.get("tagvalue", "")))
    return found


def _removed(parameters: Mapping[str, Any]) -> list[str]:
    """The keys an Untag operation takes away: aws:TagKeys has them too."""
    out = [str(value) for name, value in parameters.items() if _TAG_KEYS.fullmatch(name)]
    for name in ("TagKeys", "tagKeys"):
        value = parameters.get(name)
        if isinstance(value, list):
            out += [str(item) for item in cast("list[object]", value)]
        elif isinstance(value, str):
            out.append(value)
    return out
