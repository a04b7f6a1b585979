"""Services other than S3 in each of AWS's protocols: the operation is the one the gate judged, and errors read as AWS writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from .conftest import World, numbers

Code = Callable[[Callable[[], Any]], str]
# Service, a call that needs nothing, its action, and the protocol boto3 speaks.
CALLS = {
    "iam": ("list_users", "iam:ListUsers", "query"),
    "cloudwatch": ("list_metrics", "cloudwatch:ListMetrics", "json"),
    "sns": ("list_topics", "sns:ListTopics", "query"),
    "sqs": ("list_queues", "sqs:ListQueues", "json"),
    "logs": ("describe_log_groups", "logs:DescribeLogGroups", "json"),
    "eks": ("list_clusters", "eks:ListClusters", "rest-json"),
}
GROUPS = {"x_amz_target": "Logs_20140328.DescribeLogGroups", "Content_Type": "application/x-amz-json-1.1"}
METRICS = "/service/GraniteServiceVersion20100801/operation/ListMetrics"
CBOR = {"smithy_protocol": "rpc-v2-cbor", "Content_Type": "application/cbor"}


@pytest.mark.parametrize("service", sorted(CALLS))
def test_refusal_as_boto3_reads_it(world: World, code: Code, service: str) -> None:
    call, action, protocol = CALLS[service]
    names = [f"protocol-{next(numbers)}" for _ in range(2)]
    world.role(names[0], {"Effect": "Allow", "Action": action, "Resource": "*"})
    world.role(names[1], {"Effect": "Allow", "NotAction": action, "Resource": "*"})
    allowed: Any = world.client(service, world.session(names[0]))
    assert allowed.meta.service_model.resolved_protocol == protocol
    getattr(allowed, call)()
    refusal = code(getattr(world.client(service, world.session(names[1])), call))
    kind = "AccessDenied" if service == "iam" else "AccessDeniedException"
    assert refusal.startswith(
        f"{kind}: User: arn:aws:sts::123456789012:assumed-role/{names[1]}/test is not authorized to perform: {action}"
    )


def send(
    world: World,
    service: str,
    path: str,
    body: bytes,
    session: dict[str, str],
    method: str = "POST",
    **headers: str,
) -> httpx2.Response:
    netloc = urlsplit(world.sandbox.endpoint).netloc
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = AWSRequest(method=method, url=world.sandbox.endpoint + path, data=body, headers={"Host": netloc, **named})
    keys = Credentials(session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])
    SigV4Auth(keys, service, "eu-west-1").add_auth(request)
    wire = {name: value for name, value in request.headers.items()}  # noqa: C416 - HTTPHeaders is no dict
    return httpx2.request(method, world.sandbox.endpoint + path, headers=wire, content=body, trust_env=False)


FORM = "application/x-www-form-urlencoded"
JSON = "application/x-amz-json-1.1"
MULTIPART = (
    b'--b\r\nContent-Disposition: form-data; name="Action"\r\n\r\nCreateLogGroup\r\n'
    b'--b\r\nContent-Disposition: form-data; name="logGroupName"\r\n\r\nsmuggled\r\n--b--\r\n'
)


@pytest.fixture(scope="module")
def reader(world: World) -> dict[str, str]:
    """May list, and nothing else."""
    actions = ["iam:ListUsers", "logs:DescribeLogGroups", "cloudwatch:ListMetrics", "eks:ListClusters"]
    world.role("protocol-reader", {"Effect": "Allow", "Action": actions, "Resource": "*"})
    return world.session("protocol-reader")


@pytest.mark.parametrize(
    ("service", "path", "body", "headers"),
    [
        # Which of two names would be followed? The gate reads one, and the emulator is given no other.
        ("iam", "/?Action=CreateUser&UserName=smuggled", b"Action=ListUsers&Version=2010-05-08", {"Content_Type": FORM}),
        ("iam", "/", b"Action=CreateUser&UserName=smuggled&Action=ListUsers&Version=2010-05-08", {"Content_Type": FORM}),
        ("logs", "/?Action=CreateLogGroup&logGroupName=smuggled", b"{}", {"Content_Type": JSON, "x_amz_target": "Logs_20140328.DescribeLogGroups"}),
        ("logs", "/", b"Action=CreateLogGroup&logGroupName=smuggled", {"Content_Type": FORM, "x_amz_target": "Logs_20140328.DescribeLogGroups"}),
        ("logs", "/", b'{"logGroupNamePrefix": "&Action=CreateLogGroup&logGroupName=smuggled&x="}', GROUPS),
        ("logs", "/", b'{"a": 1, "logGroupName": "smuggled", "b": "&Action=CreateLogGroup&c="}', GROUPS),
        ("logs", "/", b"", {**GROUPS, "Action": "CreateLogGroup", "logGroupName": "smuggled"}),
        ("logs", "/", MULTIPART, {**GROUPS, "Content_Type": "multipart/form-data; boundary=b"}),
    ],
)  # fmt: skip
def test_one_request_is_not_read_as_two(
    world: World, reader: dict[str, str], service: str, path: str, body: bytes, headers: dict[str, str]
) -> None:
    answer = send(world, service, path, body, reader, **headers)
    assert answer.status_code < 500
    users = [user["UserName"] for user in world.client("iam").list_users()["Users"]]
    groups = [group["logGroupName"] for group in world.client("logs").describe_log_groups()["logGroups"]]
    assert "smuggled" not in [*users, *groups]


def test_iam_form_in_the_query_string(world: World, reader: dict[str, str]) -> None:
    for method, path, body in (
        ("GET", "/?Action=ListUsers&Version=2010-05-08", b""),
        ("POST", "/?Action=ListUsers", b""),
    ):
        answer = send(world, "iam", path, body, reader, method=method)
        assert (answer.status_code, "<ListUsersResult>" in answer.text) == (200, True)
    refused = send(world, "iam", "/?Action=CreateUser&UserName=x", b"", reader)
    assert (refused.status_code, "<Code>AccessDenied</Code>" in refused.text) == (403, True)


@pytest.mark.parametrize(
    ("service", "path", "body", "headers", "code"),
    [
        ("logs", "/", b"{}", {"x_amz_target": "Other_1.DescribeLogGroups"}, "UnknownOperationException"),
        ("logs", "/", b"{}", {"x_amz_target": "Logs_20140328.Nothing"}, "UnknownOperationException"),
        ("logs", "/service/Logs/operation/DescribeLogGroups", b"\xa0", {"smithy_protocol": "rpc-v2-cbor"}, "UnknownOperationException"),
        ("iam", "/", b"{}", {"x_amz_target": "IAM.ListUsers"}, "UnknownOperationException"),
        ("cloudwatch", "/service/Other/operation/ListMetrics", b"\xa0", {"smithy_protocol": "rpc-v2-cbor"}, "UnknownOperationException"),
        ("cloudwatch", "/service/GraniteServiceVersion20100801/operation/Nothing", b"\xa0", {"smithy_protocol": "rpc-v2-cbor"}, "UnknownOperationException"),
        ("cloudwatch", "/service/GraniteServiceVersion20100801/operation/ListMetrics", b"\xa0", {"smithy_protocol": "rpc-v3"}, "UnknownOperationException"),
        ("eks", "/clusters?Action=DeleteCluster", b"", {}, "UnknownOperationException"),
        ("nothing", "/", b"{}", {"x_amz_target": "Nothing.List"}, "InvalidAction"),
    ],
)  # fmt: skip
def test_protocol_or_operation_the_gate_cannot_read(
    world: World, reader: dict[str, str], service: str, path: str, body: bytes, headers: dict[str, str], code: str
) -> None:
    signing = "monitoring" if service == "cloudwatch" else service
    good = send(world, "logs", "/", b"{}", reader, **GROUPS)
    assert good.status_code == 200
    answer = send(world, signing, path, body, reader, method="GET" if service == "eks" else "POST", **headers)
    assert 400 <= answer.status_code < 500
    assert code in answer.content.decode("latin-1")


@pytest.mark.parametrize(
    ("service", "target", "kind"),
    [("logs", "Logs_20140328.CreateLogGroup", "application/x-amz-json-1.1"), ("dynamodb", "DynamoDB_20120810.ListTables", "application/x-amz-json-1.0")],
)  # fmt: skip
def test_json_error(world: World, reader: dict[str, str], service: str, target: str, kind: str) -> None:
    answer = send(world, service, "/", b"{}", reader, x_amz_target=target, Content_Type=kind)
    assert answer.status_code == 403
    assert answer.headers["content-type"] == kind
    assert answer.headers["x-amzn-errortype"] == "AccessDeniedException"
    assert len(answer.headers["x-amzn-requestid"]) == 36
    assert json.loads(answer.content)["__type"] == "AccessDeniedException"


def test_cbor_is_judged_and_its_error_can_be_read(world: World, reader: dict[str, str]) -> None:
    """The gate reads CBOR; the emulator behind it does not, which the caller is told once they may."""
    from botocore.parsers import create_parser
    from botocore.session import Session

    model: Any = Session().get_service_model("cloudwatch")
    parser: Any = create_parser("smithy-rpc-v2-cbor")
    for path, expected, words in (
        (METRICS, "NotImplemented", "This sandbox does not speak CBOR"),
        (METRICS.replace("ListMetrics", "DeleteAlarms"), "AccessDeniedException", "cloudwatch:DeleteAlarms"),
    ):
        answer = send(world, "monitoring", path, b"\xa0", reader, **CBOR)
        assert answer.headers["smithy-protocol"] == "rpc-v2-cbor"
        raw = {"status_code": answer.status_code, "headers": dict(answer.headers), "body": answer.content}
        error = parser.parse(raw, model.operation_model("ListMetrics").output_shape)["Error"]
        assert error["Code"] == expected
        assert words in error["Message"]
