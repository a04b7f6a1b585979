"""Services outside S3: judged on what they act on, and no request is read in two ways."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from .conftest import World, role_arn
from .test_sts import allow, fresh, trust_of, user

Code = Callable[[Callable[[], Any]], str]
REGION = "eu-west-1"
HERE = f"{REGION}:123456789012"


def send(
    world: World,
    keys: dict[str, str],
    service: str,
    *,
    method: str = "POST",
    path: str = "/",
    body: bytes = b"",
    **headers: str,
) -> httpx2.Response:
    """A request as signed by hand, which no SDK would send."""
    url = world.sandbox.endpoint + path
    request = AWSRequest(
        method=method, url=url, data=body, headers={"Host": world.sandbox.endpoint.removeprefix("http://"), **headers}
    )
    SigV4Auth(Credentials(keys["AccessKeyId"], keys["SecretAccessKey"]), service, REGION).add_auth(request)
    return httpx2.request(method, url, content=body, headers=dict(request.headers.items()), trust_env=False, timeout=20)


# service, call, arguments, the action and resource it needs, and arguments that need another
CALLS: list[tuple[str, str, dict[str, Any], str, str, dict[str, Any]]] = [
    ("dynamodb", "describe_table", {"TableName": "orders"}, "dynamodb:DescribeTable", "dynamodb:{here}:table/orders", {"TableName": "secret"}),
    ("dynamodb", "query", {"TableName": "orders", "IndexName": "by-day", "KeyConditionExpression": "a = :a", "ExpressionAttributeValues": {":a": {"S": "1"}}}, "dynamodb:Query", "dynamodb:{here}:table/orders/index/by-day", {"TableName": "orders", "KeyConditionExpression": "a = :a", "ExpressionAttributeValues": {":a": {"S": "1"}}}),
    ("dynamodb", "batch_get_item", {"RequestItems": {"orders": {"Keys": [{"a": {"S": "1"}}]}}}, "dynamodb:BatchGetItem", "dynamodb:{here}:table/orders", {"RequestItems": {"orders": {"Keys": [{"a": {"S": "1"}}]}, "secret": {"Keys": [{"a": {"S": "1"}}]}}}),
    ("sqs", "create_queue", {"QueueName": "orders"}, "sqs:CreateQueue", "sqs:{here}:orders", {"QueueName": "other"}),
    ("sqs", "send_message_batch", {"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/123456789012/orders", "Entries": [{"Id": "1", "MessageBody": "x"}]}, "sqs:SendMessage", "sqs:{here}:orders", {"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/123456789012/other", "Entries": [{"Id": "1", "MessageBody": "x"}]}),
    ("sns", "create_topic", {"Name": "orders"}, "sns:CreateTopic", "sns:{here}:orders", {"Name": "other"}),
    ("kms", "describe_key", {"KeyId": "1234abcd-12ab-34cd-56ef-1234567890ab"}, "kms:DescribeKey", "kms:{here}:key/1234abcd-12ab-34cd-56ef-1234567890ab", {"KeyId": "alias/any"}),
    ("secretsmanager", "create_secret", {"Name": "orders", "SecretString": "x"}, "secretsmanager:CreateSecret", "secretsmanager:{here}:secret:orders", {"Name": "other", "SecretString": "x"}),
    ("ssm", "put_parameter", {"Name": "/orders/a", "Value": "x", "Type": "String", "Overwrite": True}, "ssm:PutParameter", "ssm:{here}:parameter/orders/*", {"Name": "/other/a", "Value": "x", "Type": "String"}),
    ("ssm", "get_parameters", {"Names": ["/orders/a"]}, "ssm:GetParameters", "ssm:{here}:parameter/orders/*", {"Names": ["/orders/a", "/other/a"]}),
    ("athena", "create_work_group", {"Name": "orders"}, "athena:CreateWorkGroup", "athena:{here}:workgroup/orders", {"Name": "other"}),
    ("lambda", "invoke", {"FunctionName": "orders"}, "lambda:InvokeFunction", "lambda:{here}:function:orders", {"FunctionName": "other"}),
    ("logs", "create_log_group", {"logGroupName": "/orders"}, "logs:CreateLogGroup", "logs:{here}:log-group:/orders:*", {"logGroupName": "/other"}),
    ("kinesis", "create_stream", {"StreamName": "orders", "ShardCount": 1}, "kinesis:CreateStream", "kinesis:{here}:stream/orders", {"StreamName": "other", "ShardCount": 1}),
    ("firehose", "describe_delivery_stream", {"DeliveryStreamName": "orders"}, "firehose:DescribeDeliveryStream", "firehose:{here}:deliverystream/orders", {"DeliveryStreamName": "other"}),
    ("events", "put_rule", {"Name": "orders", "ScheduleExpression": "rate(5 minutes)"}, "events:PutRule", "events:{here}:rule/orders", {"Name": "other", "ScheduleExpression": "rate(5 minutes)"}),
    ("stepfunctions", "describe_state_machine", {"stateMachineArn": "arn:aws:states:eu-west-1:123456789012:stateMachine:orders"}, "states:DescribeStateMachine", "states:{here}:stateMachine:orders", {"stateMachineArn": "arn:aws:states:eu-west-1:123456789012:stateMachine:other"}),
    ("ecr", "create_repository", {"repositoryName": "orders"}, "ecr:CreateRepository", "ecr:{here}:repository/orders", {"repositoryName": "other"}),
    ("rds", "describe_db_instances", {"DBInstanceIdentifier": "orders"}, "rds:DescribeDBInstances", "rds:{here}:db:orders", {"DBInstanceIdentifier": "other"}),
    ("eks", "describe_cluster", {"name": "sandbox"}, "eks:DescribeCluster", "eks:{here}:cluster/sandbox", {"name": "other"}),
    ("eks", "list_nodegroups", {"clusterName": "sandbox"}, "eks:ListNodegroups", "eks:{here}:cluster/sandbox", {"clusterName": "other"}),
]  # fmt: skip


@pytest.mark.parametrize("case", CALLS, ids=lambda case: f"{case[0]}.{case[1]}")
def test_call_is_judged_on_what_it_acts_on(world: World, code: Code, case: Any) -> None:
    service, call, arguments, action, resource, others = case
    arn = f"arn:aws:{resource.format(here=HERE)}"
    _, keys = user(world, allow(action, arn))
    client = world.client(service, keys)
    told = ""
    try:
        getattr(client, call)(**arguments)
    except ClientError as error:  # the thing may not exist; it was allowed to ask
        told = str(error)
    assert "AccessDenied" not in told
    assert world.sandbox.record.as_json()[-1]["decision"] != "denied"
    refusal = code(lambda: getattr(client, call)(**others))
    assert refusal.startswith(("AccessDeniedException: User: ", "AccessDenied: User: ")), refusal
    assert action in refusal


def test_role_is_passed_only_with_permission(world: World, code: Code) -> None:
    role = fresh("pass")
    world.role(role, trust=trust_of("123456789012"))
    create = allow("eks:CreateCluster")
    to_eks = allow(
        "iam:PassRole", role_arn(role), Condition={"StringEquals": {"iam:PassedToService": "eks.amazonaws.com"}}
    )
    to_other = allow(
        "iam:PassRole", role_arn(role), Condition={"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    )
    ask = {"roleArn": role_arn(role), "resourcesVpcConfig": {}}
    _, right = user(world, create, to_eks)
    assert world.client("eks", right).create_cluster(name=fresh("passed"), **ask)["cluster"]
    for statements in ((create,), (create, to_other)):
        _, wrong = user(world, *statements)
        assert "is not authorized to perform: iam:PassRole on resource: " in code(
            lambda wrong=wrong: world.client("eks", wrong).create_cluster(name="never", **ask)
        )
    elsewhere = {**ask, "roleArn": "arn:aws:iam::111122223333:role/any"}
    assert code(lambda: world.client("eks", right).create_cluster(name="never", **elsewhere)).endswith(
        "Cross-account pass role is not allowed."
    )


def test_resource_of_another_account_is_refused(world: World, code: Code) -> None:
    _, keys = user(world, allow("dynamodb:*"))
    client = world.client("dynamodb", keys)
    assert code(lambda: client.describe_table(TableName="orders")).startswith("ResourceNotFoundException")
    theirs = f"arn:aws:dynamodb:{REGION}:111122223333:table/orders"
    assert code(lambda: client.describe_table(TableName=theirs)).startswith("AccessDeniedException")


def test_action_in_the_query_string_does_not_stand_in_for_the_one_judged(world: World) -> None:
    """The emulator takes an action from the query string before the header's."""
    name = fresh("table")
    admin = world.client("dynamodb")
    admin.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "a", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "a", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    _, keys = user(world, allow("dynamodb:DescribeTable"))
    headers = {"X-Amz-Target": "DynamoDB_20120810.DescribeTable", "Content-Type": "application/x-amz-json-1.0"}
    body = json.dumps({"TableName": name}).encode()
    assert send(world, keys, "dynamodb", body=body, **headers).status_code == 200
    answer = send(world, keys, "dynamodb", path="/?Action=DeleteTable", body=body, **headers)
    # Refused, or done as it was judged; what the query string says is done by nobody.
    assert "TableDescription" not in answer.text
    assert admin.describe_table(TableName=name)["Table"]["TableStatus"] == "ACTIVE"


@pytest.mark.parametrize("where", ["query", "twice in the body", "twice in the query"])
def test_parameter_that_is_sent_twice_means_one_thing(world: World, where: str, code: Code) -> None:
    """The emulator prefers the query string and the first of two; what was judged has to be what is done."""
    mine, theirs = fresh("mine"), fresh("theirs")
    for name in (mine, theirs):
        world.role(name, trust=trust_of("123456789012"))
    _, keys = user(world, allow("iam:DeleteRole", role_arn(mine)))
    form = {"Action": "DeleteRole", "Version": "2010-05-08"}
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    path, body = "/", urlencode([*form.items(), ("RoleName", theirs), ("RoleName", mine)])
    if where == "query":
        path, body = "/?" + urlencode({**form, "RoleName": theirs}), urlencode({**form, "RoleName": mine})
    elif where == "twice in the query":
        path, body = "/?" + urlencode([*form.items(), ("RoleName", theirs), ("RoleName", mine)]), ""
    assert send(world, keys, "iam", path=path, body=body.encode(), **kind).status_code == 200
    assert world.client("iam").get_role(RoleName=theirs)
    assert code(lambda: world.client("iam").get_role(RoleName=mine)).startswith("NoSuchEntity")
    assert code(lambda: world.client("iam", keys).delete_role(RoleName=theirs)).startswith("AccessDenied")


def test_path_says_what_is_acted_on_and_not_the_body(world: World) -> None:
    _, keys = user(world, allow("eks:DescribeCluster", f"arn:aws:eks:{HERE}:cluster/mine"))
    body = json.dumps({"name": "mine"}).encode()
    kind = {"Content-Type": "application/json"}
    mine = send(world, keys, "eks", method="GET", path="/clusters/mine", body=body, **kind)
    assert (mine.status_code, "No cluster found" in mine.text) == (404, True)
    for path in ("/clusters/sandbox", "/clusters/sandbox?name=mine"):
        answer = send(world, keys, "eks", method="GET", path=path, body=body, **kind)
        assert (answer.status_code, "AccessDenied" in answer.text) == (403, True)


@pytest.mark.parametrize(
    ("path", "headers", "body"),
    [
        ("/service/GraniteServiceVersion20100801/operation/ListMetrics", {"smithy-protocol": "rpc-v2-cbor"}, b"\xa0"),
        ("/", {"x-amz-target": "GraniteServiceVersion20100801.NoSuch"}, b"{}"),
        ("/nothing", {}, b""),
    ],
)
def test_protocol_is_identified_or_refused(world: World, path: str, headers: dict[str, str], body: bytes) -> None:
    admin = world.sandbox.admin_key
    keys = {"AccessKeyId": admin.access_key, "SecretAccessKey": admin.secret}
    good = b"Action=ListMetrics&Version=2010-08-01"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert send(world, keys, "monitoring", body=good, **form).status_code == 200
    answer = send(world, keys, "monitoring", path=path, body=body, **headers)
    assert answer.status_code in {400, 404, 501}


def test_service_whose_packages_are_missing_says_what_to_install(world: World, code: Code) -> None:
    from towpath.sandbox import emulated

    problem = emulated._problem("no-such-service")
    assert problem == "this sandbox's emulator does not have the service."
    missing = [name for name in ("glue", "cloudformation", "cognitoidp") if emulated._problem(name)]
    if not missing:
        pytest.skip("every package the emulator knows of is installed")
    client = {"glue": ("glue", "get_databases"), "cloudformation": ("cloudformation", "list_stacks")}.get(
        missing[0], ("cognito-idp", "list_user_pools")
    )
    arguments = {"MaxResults": 1} if client[0] == "cognito-idp" else {}
    refusal = code(lambda: getattr(world.client(client[0]), client[1])(**arguments))
    assert refusal.startswith("NotImplemented: ")
    assert f"install moto[{missing[0]}]" in refusal


def test_user_left_out_is_oneself(world: World, code: Code) -> None:
    name, keys = user(
        world, allow(["iam:GetUser", "iam:ListAccessKeys"], "arn:aws:iam::123456789012:user/${aws:username}")
    )
    iam = world.client("iam", keys)
    assert iam.get_user()["User"]["UserName"] == name
    assert [item["AccessKeyId"] for item in iam.list_access_keys()["AccessKeyMetadata"]] == [keys["AccessKeyId"]]
    other, _ = user(world)
    assert code(lambda: iam.get_user(UserName=other)).startswith("AccessDenied")


def test_users_path_is_iams_word_and_not_the_callers(world: World, code: Code) -> None:
    iam = world.client("iam")
    name = fresh("boss")
    iam.create_user(UserName=name, Path="/bosses/")
    _, keys = user(world, allow("iam:GetUser", "arn:aws:iam::123456789012:user/bosses/*"))
    assert world.client("iam", keys).get_user(UserName=name)
    _, wrong = user(world, allow("iam:GetUser", "arn:aws:iam::123456789012:user/boss-*"))
    assert code(lambda: world.client("iam", wrong).get_user(UserName=name)).startswith("AccessDenied")
