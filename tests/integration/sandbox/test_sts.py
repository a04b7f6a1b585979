"""STS operation by operation: each refusal beside the same request allowed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from botocore import UNSIGNED
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from .conftest import World, numbers, role_arn
from .test_exchange import parts

Code = Callable[[Callable[[], Any]], str]

TAGS = "https://aws.amazon.com/tags"
SOURCE = "https://aws.amazon.com/source_identity"
READ_ONLY = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"


def fresh(prefix: str) -> str:
    return f"{prefix}-{next(numbers)}"


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: str | list[str], resource: str = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def trust_of(principal: str, *actions: str, **condition: Any) -> dict[str, Any]:
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"AWS": principal},
        "Action": ["sts:AssumeRole", *actions],
    }
    if condition:
        statement["Condition"] = condition
    return {"Version": "2012-10-17", "Statement": [statement]}


def web_trust(world: World, *actions: str, **condition: Any) -> dict[str, Any]:
    trust = world.trust()
    trust["Statement"][0]["Action"] = ["sts:AssumeRoleWithWebIdentity", *actions]
    for operator, values in condition.items():
        trust["Statement"][0]["Condition"].setdefault(operator, {}).update(values)
    return trust


def token_with(world: World, **claims: Any) -> str:
    """A token of the cluster's own issuer with further claims."""
    _, payload = parts(world.token())
    return world.cluster.issuer._signers[-1].sign(payload | claims)


def user(world: World, *statements: dict[str, Any], path: str = "/") -> tuple[str, dict[str, str]]:
    iam = world.client("iam")
    name = fresh("person")
    iam.create_user(UserName=name, Path=path)
    if statements:
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy(*statements))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return name, {
        "AccessKeyId": key["AccessKeyId"],
        "SecretAccessKey": key["SecretAccessKey"],
        "SessionToken": None,  # type: ignore[dict-item]
    }


# --- who is it -----------------------------------------------------------------------------------------------------


def test_users_identity_has_its_path_and_unique_id(world: World) -> None:
    name, keys = user(world, path="/people/data/")
    who = world.client("sts", keys).get_caller_identity()
    assert who["Arn"] == f"arn:aws:iam::123456789012:user/people/data/{name}"
    assert who["UserId"].startswith("AIDA")
    assert who["UserId"] == world.client("iam").get_user(UserName=name)["User"]["UserId"]
    root = world.client("sts").get_caller_identity()
    assert (root["Arn"], root["UserId"]) == ("arn:aws:iam::123456789012:root", "123456789012")


def test_renamed_user_keeps_its_key(world: World, code: Code) -> None:
    name, keys = user(world)
    iam, sts = world.client("iam"), world.client("sts", keys)
    before = sts.get_caller_identity()
    iam.update_user(UserName=name, NewUserName=name + "-new")
    after = sts.get_caller_identity()
    assert after["Arn"] == before["Arn"] + "-new"
    assert after["UserId"] == before["UserId"]


def test_key_tells_its_account(world: World, code: Code) -> None:
    _, keys = user(world, allow("sts:GetAccessKeyInfo"))
    sts = world.client("sts", keys)
    assert sts.get_access_key_info(AccessKeyId=keys["AccessKeyId"])["Account"] == "123456789012"
    # The account is spelt in the id, so AWS tells it of keys it never gave out.
    assert sts.get_access_key_info(AccessKeyId="ASIAY34FZKBOKMUTVV7A")["Account"] == "609629065308"
    assert code(lambda: sts.get_access_key_info(AccessKeyId="0000000000000000")).startswith("ValidationError")
    _, nobody = user(world)
    assert "sts:GetAccessKeyInfo" in code(
        lambda: world.client("sts", nobody).get_access_key_info(AccessKeyId=keys["AccessKeyId"])
    )


def test_operations_that_are_not_answered_say_so(world: World, code: Code) -> None:
    _, keys = user(world, allow("sts:*"))
    sts = world.client("sts", keys)
    assert sts.get_caller_identity()
    assert code(lambda: sts.decode_authorization_message(EncodedMessage="abc")).startswith(
        "InvalidAuthorizationMessageException"
    )
    assert code(
        lambda: sts.assume_root(
            TargetPrincipal="111122223333",
            TaskPolicyArn={"arn": "arn:aws:iam::aws:policy/root-task/IAMAuditRootUserCredentials"},
        )
    ).startswith("NotImplemented")
    assertion = {
        "RoleArn": role_arn("x"),
        "PrincipalArn": "arn:aws:iam::123456789012:saml-provider/x",
        "SAMLAssertion": "abcd",
    }
    assert code(lambda: sts.assume_role_with_saml(**assertion)).startswith("NotImplemented")


# --- web identity --------------------------------------------------------------------------------------------------


def test_tags_of_the_token_become_the_sessions(world: World, bucket: str, code: Code) -> None:
    name = fresh("tagged")
    statement = allow("s3:GetObject", f"arn:aws:s3:::{bucket}/${{aws:PrincipalTag/team}}/*")
    world.role(name, statement, trust=web_trust(world, "sts:TagSession"))
    tags = {"principal_tags": {"team": ["raw"]}, "transitive_tag_keys": ["team"]}
    answer = world.exchange(token_with(world, **{TAGS: tags}), name)
    assert 0 < answer["PackedPolicySize"] < 100
    assert world.client("s3", answer["Credentials"]).get_object(Bucket=bucket, Key="raw/present")
    # The same session without the tag, with another value, and under a trust policy that does not allow tagging.
    plain = world.client("s3", world.exchange(world.token(), name)["Credentials"])
    assert code(lambda: plain.get_object(Bucket=bucket, Key="raw/present")).startswith("AccessDenied")
    other = {"principal_tags": {"team": ["other"]}}
    wrong = world.client("s3", world.exchange(token_with(world, **{TAGS: other}), name)["Credentials"])
    assert code(lambda: wrong.get_object(Bucket=bucket, Key="raw/present")).startswith("AccessDenied")
    untagged = fresh("untagged")
    world.role(untagged, statement)
    assert (
        code(lambda: world.exchange(token_with(world, **{TAGS: tags}), untagged))
        == "AccessDenied: Not authorized to perform sts:TagSession"
    )


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ({"principal_tags": {"a": ["1"], "A": ["2"]}}, "InvalidParameterValue: Duplicate tag keys found."),
        ({"principal_tags": {"aws:x": ["1"]}}, "InvalidParameterValue: "),
        (
            {"principal_tags": {"a": ["1"]}, "transitive_tag_keys": ["b"]},
            "InvalidParameterValue: The specified transitive",
        ),
        ({"principal_tags": {"a": "x" * 257}}, "ValidationError: 1 validation error detected: Value"),
        ({"principal_tags": {"k" * 129: ["x"]}}, "ValidationError: "),
        ({"principal_tags": {"a": ["1", "2"]}}, "InvalidIdentityToken: "),
        ({"principal_tags": []}, "InvalidIdentityToken: "),
        ([], "InvalidIdentityToken: "),
        ({"principal_tags": {f"key{n}": ["v"] for n in range(51)}}, "ValidationError: "),
        (
            {"principal_tags": {f"key{n}": ["v" * 200] for n in range(9)}},
            "PackedPolicyTooLarge: Packed size of session tags consumes ",
        ),
    ],
)
def test_tags_a_token_may_not_carry(world: World, code: Code, claim: Any, expected: str) -> None:
    name = fresh("tags")
    world.role(name, trust=web_trust(world, "sts:TagSession"))
    assert world.exchange(token_with(world, **{TAGS: {"principal_tags": {"a": ["1"]}}}), name)
    assert code(lambda: world.exchange(token_with(world, **{TAGS: claim}), name)).startswith(expected)


def test_source_identity_of_the_token(world: World, code: Code) -> None:
    name = fresh("source")
    condition = {"StringLike": {"sts:SourceIdentity": ["alice", "bob"]}}
    world.role(name, trust=web_trust(world, "sts:SetSourceIdentity", **condition))
    assert world.exchange(token_with(world, **{SOURCE: "alice"}), name)["SourceIdentity"] == "alice"
    for claims, expected in (
        ({SOURCE: "mallory"}, "AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity"),
        ({}, "AccessDenied: "),
        ({SOURCE: "a b"}, "ValidationError: "),
        ({SOURCE: 1}, "InvalidIdentityToken: "),
    ):
        assert code(lambda claims=claims: world.exchange(token_with(world, **claims), name)).startswith(expected)
    world.role(name + "-x", trust=web_trust(world))
    assert (
        code(lambda: world.exchange(token_with(world, **{SOURCE: "alice"}), name + "-x"))
        == "AccessDenied: Not authorized to perform sts:SetSourceIdentity"
    )


def test_authorized_party_is_the_audience(world: World, code: Code) -> None:
    name = fresh("azp")
    world.role(name)
    assert (
        world.exchange(token_with(world, azp="sts.amazonaws.com", aud=["else"]), name)["Audience"]
        == "sts.amazonaws.com"
    )
    assert (
        code(lambda: world.exchange(token_with(world, azp="else"), name))
        == "InvalidIdentityToken: Incorrect token audience"
    )


def test_arguments_a_token_exchange_does_not_take(world: World, code: Code) -> None:
    name = fresh("arguments")
    world.role(name)
    assert world.exchange(world.token(), name)
    for arguments, expected in (
        ({"ProviderId": "some.provider"}, "ValidationError: "),
        ({"ProviderId": "www.amazon.com"}, "NotImplemented: "),
        (
            {"RoleSessionName": "x"},
            "ValidationError: 1 validation error detected: Value 'x' at 'roleSessionName' failed",
        ),
        ({"RoleSessionName": "with space"}, "ValidationError: "),
        ({"RoleSessionName": "x" * 65}, "ValidationError: "),
        ({"RoleSessionName": None}, "ValidationError: 1 validation error detected: Value null at 'roleSessionName'"),
        ({"DurationSeconds": 43201}, "ValidationError: "),
        ({"Policy": "{"}, "MalformedPolicyDocument: "),
        ({"Policy": policy(allow("s3:*")) + " " * 2048}, "ValidationError: "),
        ({"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/NoSuchPolicy"}]}, "ValidationError: Policy "),
        ({"PolicyArns": [{"arn": "arn:aws:iam::999999999999:policy/other"}]}, "ValidationError: Policy "),
        ({"PolicyArns": [{"arn": READ_ONLY}] * 11}, "ValidationError: "),
    ):
        given = {key: value for key, value in arguments.items() if value is not None}
        dropped = [key for key, value in arguments.items() if value is None]

        def ask(given: dict[str, Any] = given, dropped: list[str] = dropped) -> Any:
            sts = world.client("sts", config=Config(signature_version=UNSIGNED))
            form = {"RoleArn": role_arn(name), "RoleSessionName": "test", "WebIdentityToken": world.token(), **given}
            return sts.assume_role_with_web_identity(**{k: v for k, v in form.items() if k not in dropped})

        assert code(ask).startswith(expected), arguments


def test_managed_session_policies_limit(world: World, bucket: str, code: Code) -> None:
    name = fresh("managed")
    world.role(name, allow("s3:*"))
    own = world.client("iam").create_policy(PolicyName=fresh("own"), PolicyDocument=policy(allow("s3:PutObject")))
    answer = world.exchange(world.token(), name, PolicyArns=[{"arn": READ_ONLY}, {"arn": own["Policy"]["Arn"]}])
    assert answer["PackedPolicySize"] > 0
    s3 = world.client("s3", answer["Credentials"])
    assert s3.get_object(Bucket=bucket, Key="raw/present")  # AWS's policy allows it
    assert s3.put_object(Bucket=bucket, Key="raw/new", Body=b"")  # and the own one this
    assert "session policy" in code(lambda: s3.delete_object(Bucket=bucket, Key="raw/new"))
    assert world.client("s3", world.session(name)).delete_object(Bucket=bucket, Key="raw/new")


# --- AssumeRole ----------------------------------------------------------------------------------------------------


def test_external_id(world: World, code: Code) -> None:
    name, keys = user(world)
    role = fresh("external")
    who = f"arn:aws:iam::123456789012:user/{name}"
    world.role(role, trust=trust_of(who, StringEquals={"sts:ExternalId": "shared-secret"}))
    sts = world.client("sts", keys)
    ask = {"RoleArn": role_arn(role), "RoleSessionName": "test"}
    assert sts.assume_role(**ask, ExternalId="shared-secret")
    assert code(lambda: sts.assume_role(**ask, ExternalId="guess")).startswith(f"AccessDenied: User: {who} is not")
    assert code(lambda: sts.assume_role(**ask)).startswith("AccessDenied: User: ")
    assert code(lambda: sts.assume_role(**ask, ExternalId="x")).startswith("ValidationError: ")
    assert code(
        lambda: sts.assume_role(
            **ask, ExternalId="shared-secret", SerialNumber="arn:aws:iam::123456789012:mfa/x", TokenCode="123456"
        )
    ).startswith("AccessDenied: MultiFactorAuthentication failed with invalid MFA one time pass code.")


def test_trust_that_names_the_account_delegates_to_it(world: World, code: Code) -> None:
    role = fresh("delegated")
    world.role(role, trust=trust_of("arn:aws:iam::123456789012:root"))
    _, allowed = user(world, allow("sts:AssumeRole", role_arn(role)))
    _, not_allowed = user(world)
    ask = {"RoleArn": role_arn(role), "RoleSessionName": "test"}
    assert world.client("sts", allowed).assume_role(**ask)
    assert code(lambda: world.client("sts", not_allowed).assume_role(**ask)).startswith("AccessDenied: User: ")
    assert (
        code(lambda: world.client("sts").assume_role(**ask))
        == "AccessDenied: Roles may not be assumed by root accounts."
    )
    assert code(lambda: world.client("sts", allowed).assume_role(**{**ask, "RoleArn": role_arn("no-such")})).startswith(
        "AccessDenied: User: "
    )


def test_transitive_tags_and_source_identity_go_down_a_chain(world: World, bucket: str, code: Code) -> None:
    name, keys = user(world)
    first, second, third = fresh("first"), fresh("second"), fresh("third")
    more = ("sts:TagSession", "sts:SetSourceIdentity")
    world.role(
        first,
        allow(["sts:AssumeRole", *more]),
        trust=trust_of(f"arn:aws:iam::123456789012:user/{name}", *more),
    )
    object_of_team = allow("s3:GetObject", f"arn:aws:s3:::{bucket}/${{aws:PrincipalTag/team}}/*")
    world.role(second, object_of_team, trust=trust_of(role_arn(first), *more), MaxSessionDuration=43200)
    world.role(third, object_of_team, trust=trust_of(role_arn(first)))
    tags = [{"Key": "team", "Value": "raw"}, {"Key": "size", "Value": "small"}]
    opened = world.client("sts", keys).assume_role(
        RoleArn=role_arn(first), RoleSessionName="one", Tags=tags, TransitiveTagKeys=["team"], SourceIdentity="alice"
    )
    assert opened["SourceIdentity"] == "alice"
    sts = world.client("sts", opened["Credentials"])
    ask = {"RoleArn": role_arn(second), "RoleSessionName": "two"}
    chained = sts.assume_role(**ask)
    assert chained["SourceIdentity"] == "alice"
    assert world.client("s3", chained["Credentials"]).get_object(Bucket=bucket, Key="raw/present")
    key = world.sandbox._keys.find(chained["Credentials"]["AccessKeyId"])
    assert key is not None
    assert dict(key.principal.tags) == {"team": "raw"}
    # What was inherited can neither be set again nor changed, and each role of the chain has to allow it.
    assert code(lambda: sts.assume_role(**ask, Tags=[{"Key": "Team", "Value": "other"}])).startswith(
        "InvalidParameterValue: One of the specified transitive tag keys can't be set because it conflicts"
    )
    assert "sts:SetSourceIdentity" in code(lambda: sts.assume_role(**ask, SourceIdentity="bob"))
    assert "sts:TagSession" in code(lambda: sts.assume_role(**{**ask, "RoleArn": role_arn(third)}))
    assert code(lambda: sts.assume_role(**ask, DurationSeconds=3601)).endswith(
        "exceeds the 1 hour session limit for roles assumed by role chaining"
    )


def test_tagging_needs_its_permission_on_both_sides(world: World, code: Code) -> None:
    name, keys = user(world, allow("sts:AssumeRole"))
    tagging, plain = fresh("tagging"), fresh("plain")
    who = f"arn:aws:iam::123456789012:user/{name}"
    world.role(tagging, trust=trust_of(who, "sts:TagSession", StringEquals={"aws:RequestTag/team": "raw"}))
    world.role(plain, trust=trust_of(who))
    sts = world.client("sts", keys)
    raw, other = [{"Key": "team", "Value": "raw"}], [{"Key": "team", "Value": "other"}]
    assert sts.assume_role(RoleArn=role_arn(tagging), RoleSessionName="test", Tags=raw)
    assert code(lambda: sts.assume_role(RoleArn=role_arn(tagging), RoleSessionName="test", Tags=other)).startswith(
        "AccessDenied"
    )
    assert "sts:TagSession on resource: " in code(
        lambda: sts.assume_role(RoleArn=role_arn(plain), RoleSessionName="test", Tags=raw)
    )


def test_tags_of_the_role_are_its_sessions_too_unless_overridden(world: World, bucket: str, code: Code) -> None:
    name = fresh("role-tags")
    statement = allow("s3:GetObject", f"arn:aws:s3:::{bucket}/${{aws:PrincipalTag/team}}/*")
    world.role(name, statement, trust=web_trust(world, "sts:TagSession"), Tags=[{"Key": "team", "Value": "raw"}])
    assert world.client("s3", world.session(name)).get_object(Bucket=bucket, Key="raw/present")
    other = {"principal_tags": {"Team": ["other"]}}
    keys = world.exchange(token_with(world, **{TAGS: other}), name)["Credentials"]
    assert code(lambda: world.client("s3", keys).get_object(Bucket=bucket, Key="raw/present")).startswith(
        "AccessDenied"
    )


def test_sessions_issued_before_a_moment_are_revoked(world: World, bucket: str, code: Code) -> None:
    name = fresh("revoked")
    world.role(name, allow("s3:*"))
    s3 = world.client("s3", world.session(name))
    assert s3.get_object(Bucket=bucket, Key="raw/present")
    for moment, refused in ((timedelta(minutes=-5), False), (timedelta(seconds=2), True)):
        before = (datetime.now(UTC) + moment).strftime("%Y-%m-%dT%H:%M:%SZ")
        world.client("iam").put_role_policy(
            RoleName=name,
            PolicyName="AWSRevokeOlderSessions",
            PolicyDocument=policy(
                {
                    "Effect": "Deny",
                    "Action": "*",
                    "Resource": "*",
                    "Condition": {"DateLessThan": {"aws:TokenIssueTime": before}},
                }
            ),
        )
        if refused:
            assert code(lambda: s3.get_object(Bucket=bucket, Key="raw/present")).startswith("AccessDenied")
        else:
            assert s3.get_object(Bucket=bucket, Key="raw/present")


# --- sessions of users ---------------------------------------------------------------------------------------------


def test_session_token_is_the_user_for_a_while(world: World, bucket: str, code: Code) -> None:
    name, keys = user(world, allow(["s3:GetObject", "iam:ListRoles"]))
    sts = world.client("sts", keys)
    session = sts.get_session_token(DurationSeconds=900)["Credentials"]
    assert session["AccessKeyId"].startswith("ASIA")
    inner = world.client("sts", session)
    assert inner.get_caller_identity()["Arn"] == f"arn:aws:iam::123456789012:user/{name}"
    assert world.client("s3", session).get_object(Bucket=bucket, Key="raw/present")
    assert world.client("iam", keys).list_roles()
    assert code(lambda: world.client("iam", session).list_roles()).startswith("InvalidClientTokenId")
    assert code(inner.get_session_token) == "AccessDenied: Cannot call GetSessionToken with session credentials"
    assert code(lambda: inner.get_federation_token(Name="x1")).startswith(
        "AccessDenied: Cannot call GetFederationToken"
    )
    assert code(lambda: sts.get_session_token(DurationSeconds=899)).startswith("ValidationError")
    assert code(lambda: sts.get_session_token(DurationSeconds=129601)).startswith("ValidationError")
    iam = world.client("iam")
    iam.delete_access_key(UserName=name, AccessKeyId=keys["AccessKeyId"])
    iam.delete_user_policy(UserName=name, PolicyName="p")
    iam.delete_user(UserName=name)
    assert code(inner.get_caller_identity).startswith("InvalidClientTokenId")


def test_federation_token_is_the_overlap(world: World, bucket: str, code: Code) -> None:
    _, keys = user(
        world, allow("s3:*"), allow("sts:GetFederationToken", "arn:aws:sts::123456789012:federated-user/ann*")
    )
    sts = world.client("sts", keys)
    answer = sts.get_federation_token(Name="anna", Policy=policy(allow(["s3:GetObject", "iam:ListRoles"])))
    assert answer["FederatedUser"] == {
        "FederatedUserId": "123456789012:anna",
        "Arn": "arn:aws:sts::123456789012:federated-user/anna",
    }
    federated = answer["Credentials"]
    s3 = world.client("s3", federated)
    assert s3.get_object(Bucket=bucket, Key="raw/present")
    assert code(lambda: s3.put_object(Bucket=bucket, Key="raw/new", Body=b"")).startswith("AccessDenied")
    nothing = world.client("s3", sts.get_federation_token(Name="anna")["Credentials"])
    assert code(lambda: nothing.get_object(Bucket=bucket, Key="raw/present")).startswith("AccessDenied")
    inner = world.client("sts", federated)
    assert inner.get_caller_identity()["Arn"] == "arn:aws:sts::123456789012:federated-user/anna"
    assert code(lambda: inner.assume_role(RoleArn=role_arn("any"), RoleSessionName="test")).startswith("AccessDenied")
    assert code(lambda: world.client("iam", federated).list_roles()).startswith("InvalidClientTokenId")
    assert "sts:GetFederationToken" in code(lambda: sts.get_federation_token(Name="bert"))
    assert "sts:TagSession" in code(lambda: sts.get_federation_token(Name="anna", Tags=[{"Key": "a", "Value": "b"}]))
    assert code(lambda: sts.get_federation_token(Name="x" * 33)).startswith("ValidationError")


@pytest.mark.parametrize(
    ("minutes", "says"),
    [
        (-20, r"Signature expired: \d{8}T\d{6}Z is now earlier than \d{8}T\d{6}Z \(\d{8}T\d{6}Z - 15 min\.\)"),
        (20, r"Signature not yet current: \d{8}T\d{6}Z is still later than \d{8}T\d{6}Z \(\d{8}T\d{6}Z \+ 15 min\.\)"),
    ],
)
def test_clock_that_is_wrong(
    world: World, code: Code, monkeypatch: pytest.MonkeyPatch, minutes: int, says: str
) -> None:
    def by(minutes: int) -> None:
        moment = datetime.now(UTC) + timedelta(minutes=minutes)
        monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: moment.replace(tzinfo=None))

    by(minutes // 4)
    assert world.client("sts").get_caller_identity()
    by(minutes)
    assert re.fullmatch(f"SignatureDoesNotMatch: {says}", code(world.client("sts").get_caller_identity))


# --- endpoints -----------------------------------------------------------------------------------------------------


def call(world: World, host: str, region: str, *, method: str = "POST", signed: bool = True) -> httpx2.Response:
    """GetCallerIdentity under a name of AWS's, its parameters in the query string."""
    query = "/?Action=GetCallerIdentity&Version=2011-06-15"
    admin = world.sandbox.admin_key
    request = AWSRequest(method=method, url=f"http://{host}{query}", headers={"Host": host})
    if signed:
        SigV4Auth(Credentials(admin.access_key, admin.secret), "sts", region).add_auth(request)
    return httpx2.request(
        method, world.sandbox.endpoint + query, headers=dict(request.headers.items()), trust_env=False, timeout=10
    )


@pytest.mark.parametrize(
    ("host", "right", "wrong"),
    [
        ("sts.eu-west-1.amazonaws.com", "eu-west-1", "us-east-1"),
        ("sts.amazonaws.com", "us-east-1", "eu-west-1"),
        ("sts-fips.us-east-2.amazonaws.com", "us-east-2", "us-east-1"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_endpoint_takes_requests_signed_for_its_region(
    world: World, host: str, right: str, wrong: str, method: str
) -> None:
    assert call(world, host, right, method=method).status_code == 200
    refused = call(world, host, wrong, method=method)
    assert refused.status_code == 403
    assert (
        f"<Code>SignatureDoesNotMatch</Code><Message>Credential should be scoped to a valid region, not '{wrong}'."
        in refused.text
    )
    unsigned = call(world, host, right, method=method, signed=False)
    assert (unsigned.status_code, "MissingAuthenticationToken" in unsigned.text) == (403, True)


def exchange_form(world: World, name: str) -> dict[str, str]:
    return {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": role_arn(name),
        "RoleSessionName": "test",
        "WebIdentityToken": world.token(),
    }


def test_exchange_by_query_string_needs_no_body(world: World) -> None:
    name = fresh("query")
    world.role(name)
    form = exchange_form(world, name)
    for method in ("GET", "POST"):
        answer = httpx2.request(method, world.sandbox.endpoint, params=form, trust_env=False, timeout=10)
        assert "<AccessKeyId>ASIA" in answer.text
    wrong = httpx2.post(
        world.sandbox.endpoint, params=form | {"WebIdentityToken": "not.a.token"}, trust_env=False, timeout=10
    )
    assert (wrong.status_code, "InvalidIdentityToken" in wrong.text) == (400, True)


@pytest.mark.parametrize(
    "strange",
    [
        {"PolicyArns.member.1": READ_ONLY},
        {"PolicyArns.1.arn": READ_ONLY},
        {"PolicyArns.member.x.arn": READ_ONLY},
        {"PolicyArns.arn": READ_ONLY},
        {"PolicyArns.member.1.PolicyArn": READ_ONLY},
    ],
)
def test_policy_that_cannot_be_read_is_no_missing_policy(world: World, strange: dict[str, str]) -> None:
    """A session whose policy was sent in another spelling must not be a session without one."""
    name = fresh("strange")
    world.role(name)
    form = exchange_form(world, name)
    good = form | {"PolicyArns.member.1.arn": READ_ONLY}
    assert httpx2.post(world.sandbox.endpoint, data=good, trust_env=False).status_code == 200
    answer = httpx2.post(world.sandbox.endpoint, data=form | strange, trust_env=False)
    assert answer.status_code == 400
    assert "<AccessKeyId>" not in answer.text


def test_asking_for_a_name_in_another_case_spoils_nothing(world: World, code: Code) -> None:
    name = fresh("Case")
    world.role(name)
    assert code(lambda: world.exchange(world.token(), name.lower())).startswith("AccessDenied")
    assert world.exchange(world.token(), name)["Credentials"]
