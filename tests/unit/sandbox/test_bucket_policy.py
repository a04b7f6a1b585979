"""What PutBucketPolicy takes and refuses, case by case (bucket_policies.yaml)."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from towpath.sandbox.errors import AwsError
from towpath.sandbox.s3 import bucket_policy

CASES: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "bucket_policies.yaml").read_text())


def _text(case: dict[str, Any]) -> bytes:
    if "text" in case:
        return str(case["text"]).encode()
    document = copy.deepcopy(CASES["base"])
    for target, changes in ((document["Statement"][0], "statement"), (document, "document")):
        for name, value in case.get(changes, {}).items():
            if value is None:
                del target[name]
            else:
                target[name] = value
    return json.dumps(document).encode()


def validate(text: bytes) -> Any:
    return bucket_policy.validate(
        text, bucket="lake", partition="aws", exists=lambda *who: who == ("123456789012", "role", "reader")
    )


@pytest.mark.parametrize("case", CASES["taken"], ids=json.dumps)
def test_taken(case: dict[str, Any]) -> None:
    assert validate(_text(case)).statements


@pytest.mark.parametrize("case", CASES["refused"], ids=lambda case: case["message"])
def test_refused_in_s3_words(case: dict[str, Any]) -> None:
    assert validate(_text({})).statements
    with pytest.raises(AwsError) as caught:
        validate(_text(case))
    assert (caught.value.code, caught.value.message, caught.value.status) == ("MalformedPolicy", case["message"], 400)


@pytest.mark.parametrize("case", CASES["public"], ids=json.dumps)
def test_public(case: dict[str, Any]) -> None:
    assert bucket_policy.is_public(validate(_text(case))) is case["public"]


def test_size_is_measured_without_white_space() -> None:
    def sized(keys: int) -> bytes:
        return json.dumps(
            {
                **CASES["base"],
                "Statement": [
                    {**CASES["base"]["Statement"][0], "Resource": [f"arn:aws:s3:::lake/{n:060d}" for n in range(keys)]}
                ],
            },
            indent=8,
        ).encode()

    assert len(sized(230)) > bucket_policy.LARGEST
    assert validate(sized(230))
    with pytest.raises(AwsError, match="MalformedPolicy: Normalized policy document exceeds the maximum allowed size"):
        validate(sized(260))
