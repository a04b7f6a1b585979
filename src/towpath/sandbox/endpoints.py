"""AWS's own endpoint names: which region one belongs to, and which region a request to it is signed for.

Source: "AWS service endpoints" and "AWS Security Token Service endpoints and quotas" in the AWS General Reference. A name of the
sandbox's own (localhost) belongs to no region and takes them all.
"""

from __future__ import annotations

import re
from typing import Final

from towpath.sandbox.errors import AwsError

# Services with one endpoint for all regions of a partition, and the region that signs for it.
GLOBAL_REGIONS: Final = {"amazonaws.com": "us-east-1", "amazonaws.com.cn": "cn-north-1", "api.aws": "us-east-1"}
GLOBAL_SERVICES: Final = frozenset({"sts", "iam"})

_NAME: Final = re.compile(
    r"(?P<service>[a-z0-9-]+?)(?P<fips>-fips)?(\.dualstack)?(\.(?P<region>[a-z]{2}(-[a-z]+)+-\d))?\.(?P<suffix>amazonaws\.com(\.cn)?|api\.aws)"
)

_S3: Final = re.compile(
    r"(?:.+\.)?s3(-fips)?(\.dualstack)?\.(?P<region>[a-z]{2}(-[a-z]+)+-\d)\.(amazonaws\.com(\.cn)?)"
)  # with or without a bucket before it


def region(host: str) -> str | None:
    """The region of `sts.eu-west-1.amazonaws.com`; us-east-1 of the global `sts.amazonaws.com`; None for any other name."""
    match = _NAME.fullmatch(host)
    if match is None:
        return None
    if match["region"] is not None:
        return match["region"]
    return GLOBAL_REGIONS[match["suffix"]] if match["service"] in GLOBAL_SERVICES else None


def check_region(host: str, service: str, signed: str, *, presigned: bool = False) -> None:
    """Raises AwsError when a request to one of AWS's names of S3, STS or IAM is signed for another region than the name's."""
    if service == "s3":
        match = _S3.fullmatch(host)
        if match is not None and match["region"] != signed:
            raise _wrong_region_for_s3(signed, match["region"], presigned=presigned)
        return
    if service not in GLOBAL_SERVICES:
        return
    wanted = region(host)
    if wanted is not None and wanted != signed:
        raise AwsError(
            "SignatureDoesNotMatch",
            f"Credential should be scoped to a valid region, not '{signed}'.",
            403,
            why=f"{host} is in {wanted}",
        )


def _wrong_region_for_s3(signed: str, wanted: str, *, presigned: bool) -> AwsError:
    why = f"the region '{signed}' is wrong; expecting '{wanted}'"
    details = {"Region": wanted}
    if presigned:
        return AwsError(
            "AuthorizationQueryParametersError",
            f"Error parsing the X-Amz-Credential parameter; {why}",
            400,
            details=details,
        )
    return AwsError(
        "AuthorizationHeaderMalformed", f"The authorization header is malformed; {why}", 400, details=details
    )
