"""S3 at the gate, from the caller to the emulator: which operation, whose bucket, may they, and the body as it was meant.

Order of the checks: the caller (before this module), the bucket, what needs no policy (owner headers, conflicting parameters), every
permission, the body. A request reaches the emulator in path style, with the parameters of its operation and no others, and its body
decoded, so that the gate and the emulator cannot read two things out of one request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from towpath.iam.context import Value
from towpath.sandbox import principal_ids
from towpath.sandbox.authenticate import Authenticator, Caller
from towpath.sandbox.authorise import Target
from towpath.sandbox.backend import Backend
from towpath.sandbox.buckets import Bucket, Buckets
from towpath.sandbox.errors import AwsError, not_implemented
from towpath.sandbox.principal_ids import Named
from towpath.sandbox.principals import ANONYMOUS
from towpath.sandbox.s3 import (
    answers,
    bucket_policy,
    carried_out,
    checksums,
    deletes,
    forms,
    forward,
    lost,
    rules,
    schema,
    streams,
    xml,
)
from towpath.sandbox.s3.address import Address, locate
from towpath.sandbox.s3.operations import BUCKET, POST_OBJECT, S3Operation, identify
from towpath.sandbox.s3_operations import Need, copy_source, needs, read_source, replaces_tags
from towpath.sandbox.wire import Body, Request, Response

# NoSuchKey tells that a key is free: only who may list is told.
_TELLING: Final = frozenset(
    {
        "GetObject",
        "HeadObject",
        "GetObjectAttributes",
        "GetObjectAcl",
        "GetObjectTagging",
        "CopyObject",
        "UploadPartCopy",
    }
)
_COPYING: Final = frozenset({"CopyObject", "UploadPartCopy"})
# Operations whose body is an object's content, which no permission depends on.
_CONTENT: Final = frozenset({"PutObject", "UploadPart"})
# The checksum headers of these are of the whole object, in the end, and not of their body.
_OF_OBJECT: Final = frozenset({"CreateMultipartUpload", "CompleteMultipartUpload", "CopyObject", "UploadPartCopy"})
# Actions on objects that know s3:ExistingObjectTag/<key>.
_TAGGED: Final = frozenset(
    [
        "DeleteObjectTagging",
        "DeleteObjectVersionTagging",
        "GetObject",
        "GetObjectAcl",
        "GetObjectAttributes",
        "GetObjectTagging",
        "GetObjectVersion",
        "GetObjectVersionAcl",
        "GetObjectVersionAttributes",
        "GetObjectVersionTagging",
        "PutObjectAcl",
        "PutObjectTagging",
        "PutObjectVersionAcl",
        "PutObjectVersionTagging",
    ]
)
_NUMBERS: Final = frozenset({"max-keys", "max-parts", "max-uploads", "partNumber", "part-number-marker"})
Allow = Callable[[Need, Target, Caller], None]
Starts = Callable[[Need], None]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request to S3 as it is worked on."""

    request: Request
    operation: S3Operation
    address: Address
    bucket: Bucket | None
    caller: Caller
    region: str
    allow: Allow


class S3:
    """Answers S3's requests. Raises AwsError for everything it refuses."""

    def __init__(
        self,
        *,
        backend: Backend,
        buckets: Buckets,
        authenticator: Authenticator,
        exists: bucket_policy.Exists,
        partition: str,
    ) -> None:
        self._backend = backend
        self._buckets = buckets
        self._authenticator = authenticator
        self._exists = exists
        self._partition = partition

    def answer(
        self, request: Request, caller: Caller, *, hosts: Collection[str], region: str, allow: Allow, starts: Starts
    ) -> Response:
        """`region` is where an anonymous caller is taken to be; `starts` is told the main permission before any is judged."""
        address = locate(request, hosts)
        request = forward.hoisted(request, caller)
        operation = identify(request, bucket=address.bucket, key=address.key)
        rules.check_known(request.headers)
        # A new bucket is nobody's yet, whoever has one of that name.
        bucket = self._found(address.bucket) if address.bucket and operation.name != "CreateBucket" else None
        if bucket is not None:
            rules.check_owner(request.headers, "x-amz-expected-bucket-owner", bucket)
        if operation.name in _COPYING:
            source = self._found(copy_source(request).bucket)
            rules.check_owner(request.headers, "x-amz-source-expected-bucket-owner", source)
        if caller.principal is ANONYMOUS:
            rules.check_anonymous(request)
        if operation is POST_OBJECT:
            return self._form(request, caller, address, region=region, allow=allow, starts=starts)
        asked = Asked(
            request=request,
            operation=operation,
            address=address,
            bucket=bucket,
            caller=caller,
            region=caller.region or region,
            allow=allow,
        )
        opened: list[Body] = []
        try:
            # The body of a small request tells what it needs: keys, tags, locks, roles. That of an object does not.
            if operation.name not in _CONTENT:
                rules.check_message(request)
                asked = self._decoded(asked, opened)
            if operation.name == "DeleteObjects":
                return self._delete_objects(asked, starts)
            wanted = needs(asked.request, operation, address, partition=self._partition)
            starts(wanted[0])
            for need in wanted:
                self._allow(asked, need)
            carried_out.check(operation.name)
            if operation.name in _CONTENT:
                rules.check_length(request, streamed=caller.payload in streams.MODES)
                asked = self._decoded(asked, opened)
            self._check(asked, wanted[0])
            return self._carry_out(asked)
        finally:
            for body in opened:
                body.close()

    def _found(self, name: str) -> Bucket:
        found = self._buckets.find(name)
        if found is None:
            raise rules.no_such_bucket(name)
        return found

    # --- permissions ---------------------------------------------------------------------------------------------

    def _allow(self, asked: Asked, need: Need) -> None:
        name = need.bucket
        bucket = (self._found(name) if name != asked.address.bucket else asked.bucket) if name else None
        asked.allow(need, self._target(asked, need, bucket), asked.caller)

    def _target(self, asked: Asked, need: Need, bucket: Bucket | None) -> Target:
        keys = forward.signature_keys(asked.request, asked.caller)
        if bucket is None:
            return Target(keys=keys)
        tagged = "/" in need.resource and need.action.removeprefix("s3:") in _TAGGED
        return Target(
            account=bucket.owner,
            policy=bucket.policy,
            owner_only=bucket.public and bucket.blocked.restrict_public_buckets,
            keys={**keys, "s3:ResourceAccount": bucket.owner},
            tags=(lambda: self._tags(asked, need, bucket)) if tagged else None,
        )

    # --- checks after the permissions ----------------------------------------------------------------------------

    def _check(self, asked: Asked, own: Need) -> None:
        request, operation, bucket = asked.request, asked.operation, asked.bucket
        user = asked.caller.principal.arn
        if operation.name == "CreateBucket":
            rules.check_new_bucket(request, asked.address.bucket)
        if bucket is not None:
            rules.check_acl(request, operation.name, bucket, user=user, resource=own.resource, action=own.action)
        if operation.name == "PutBucketPolicy" and bucket is not None:
            self._check_policy(request, bucket, user)
        if operation.selector and operation.method == "PUT":
            schema.check(operation.name, request)
        lost.check(operation.name, request)
        for name in _NUMBERS & request.arguments.keys() if request.query else ():
            if not re.fullmatch(r"[+-]?\d{1,12}", request.arguments[name], re.ASCII):
                raise AwsError("InvalidArgument", f"Provided {name} not an integer or within integer range", 400)
        if operation.name == "CopyObject":
            self._check_copied_tags(asked, own)

    def _check_policy(self, request: Request, bucket: Bucket, user: str) -> None:
        document = bucket_policy.validate(
            request.body.read(), bucket=bucket.name, partition=self._partition, exists=self._exists
        )
        if bucket.blocked.block_public_policy and bucket_policy.is_public(document):
            raise AwsError(
                "AccessDenied",
                f'User: {user} is not authorized to perform: s3:PutBucketPolicy on resource: "arn:{self._partition}:s3:::{bucket.name}" because public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access.',
                403,
            )

    def _check_copied_tags(self, asked: Asked, own: Need) -> None:
        """Tags that are copied along need to be readable there and settable here; without tags there is nothing to ask."""
        if replaces_tags(asked.request):
            return
        source = copy_source(asked.request)
        if self._read_tags(self._found(source.bucket), source.key, source.version, asked.region):
            self._allow(asked, read_source(source, partition=self._partition, tagging=True))
            self._allow(asked, Need(action="s3:PutObjectTagging", resource=own.resource))

    def _tags(self, asked: Asked, need: Need, bucket: Bucket) -> Mapping[str, Value]:
        key = need.resource.split(":", 5)[5].partition("/")[2]
        found = self._read_tags(bucket, key, str(need.context.get("s3:VersionId", "")), asked.region)
        return {f"s3:ExistingObjectTag/{name}": value for name, value in found.items()}

    def _read_tags(self, bucket: Bucket, key: str, version: str, region: str) -> dict[str, str]:
        query = "tagging" + (f"&versionId={quote(version, safe='')}" if version else "")
        request = Request(
            method="GET", path=f"/{bucket.name}/{quote(key, safe='/-_.~')}", query=query, headers={"host": "localhost"}
        )
        try:
            response = self._backend.call(request, service="s3", region=region, account=bucket.owner)
        except AwsError:  # there is no such object, which whoever asks for it is told by what they ask
            return {}
        root = xml.parse(replace(request, body=Body([response.read()])))
        return {xml.text(item, "Key") or "": xml.text(item, "Value") or "" for item in xml.named(root, "Tag")}

    # --- the body ------------------------------------------------------------------------------------------------

    def _decoded(self, asked: Asked, opened: list[Body]) -> Asked:
        """The same with its content alone as the body, every signature and checksum of it verified."""
        request, caller = asked.request, asked.caller
        trailers: Mapping[str, str] = {}
        if caller.payload in streams.MODES:
            decoder = streams.Decoder(
                request.body.stream(), mode=caller.payload, headers=request.headers, signer=caller.signer
            )
            body = Body(decoder)
            body.digests.update(decoder.digests)
            opened.append(body)
            trailers = decoder.trailers
            request = replace(request, body=body, headers=streams.plain_headers(request.headers, trailers))
        elif "aws-chunked" in request.headers.get("content-encoding", "").lower():
            raise AwsError(
                "InvalidRequest",
                "aws-chunked needs x-amz-content-sha256 to say how its chunks are signed.",
                400,
                why="aws-chunked with x-amz-content-sha256 of something else",
            )
        if request.body.length or asked.operation.method in {"PUT", "POST"}:
            given = {name: value for name, value in request.headers.items() if name not in trailers}
            checksums.check_body(given, request.body, of_body=asked.operation.name not in _OF_OBJECT)
        return asked if request is asked.request else replace(asked, request=request)

    # --- carrying it out -----------------------------------------------------------------------------------------

    def _carry_out(self, asked: Asked) -> Response:
        name = asked.operation.name
        own = answers.of_bucket(name, asked.bucket) if asked.bucket is not None else None
        if own is not None:
            return own
        if asked.operation.level == BUCKET and asked.operation.method in {"PUT", "DELETE"}:
            return self._write_bucket(asked)
        try:
            return self._call(asked)
        except AwsError as error:
            if error.code == "NoSuchKey" and name in _TELLING:
                self._may_know(asked)
            raise

    def _write_bucket(self, asked: Asked) -> Response:
        with self._backend.together(), self._buckets.writing():
            known = self._buckets.find(asked.address.bucket)
            if asked.operation.name == "CreateBucket" and known is not None:
                if known.owner != asked.caller.principal.account:
                    raise AwsError(
                        "BucketAlreadyExists",
                        "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.",
                        409,
                    )
            elif known != asked.bucket:
                raise AwsError(
                    "OperationAborted",
                    "A conflicting conditional operation is currently in progress against this resource. Please try again.",
                    409,
                )
            response = self._call(asked)
            if response.status < 300:
                inner = forward.inner(asked.request, asked.operation, asked.address)
                self._buckets.follow(inner, account=self._account(asked))
            return response

    def forget(self, gone: Named) -> None:
        """A principal was deleted: its unique id takes its place in every bucket policy, and one made anew is another."""
        for bucket in self._buckets.with_policies():
            before = bucket.policy.document.source if bucket.policy is not None else {}
            after = principal_ids.replaced(before, gone)
            if after == before:
                continue
            request = Request(
                method="PUT",
                path=f"/{bucket.name}",
                query="policy",
                headers={"host": "localhost"},
                body=Body([json.dumps(after).encode()]),
            )
            with self._backend.together(), self._buckets.writing():
                self._backend.call(request, service="s3", region="us-east-1", account=bucket.owner)
                self._buckets.follow(request, account=bucket.owner)

    def _may_know(self, asked: Asked) -> None:
        """Who may not list the key is not told that it is free ("GetObject", S3 API reference).

        Listing limited by s3:prefix is asked for the key: with it S3 was seen to answer 404 below the prefix (kopia/kopia#3072).
        """
        copied = copy_source(asked.request) if asked.operation.name in _COPYING else None
        bucket, key = (copied.bucket, copied.key) if copied else (asked.address.bucket, asked.address.key)
        resource = f"arn:{self._partition}:s3:::{bucket}"
        self._allow(asked, Need(action="s3:ListBucket", resource=resource, context={"s3:prefix": key}))

    def _account(self, asked: Asked) -> str:
        return asked.bucket.owner if asked.bucket is not None else asked.caller.principal.account

    def _call(self, asked: Asked) -> Response:
        inner = forward.inner(asked.request, asked.operation, asked.address)
        try:
            return self._backend.call(inner, service="s3", region=asked.region, account=self._account(asked))
        except AwsError as error:
            # A body that is valid (schema.check) and that the emulator cannot read all the same.
            if error.code == "InternalFailure" and asked.request.body.length and schema.payload(asked.operation.name):
                raise not_implemented(f"a setting of {asked.operation.name}: {error.why}") from None
            raise

    def _delete_objects(self, asked: Asked, starts: Starts) -> Response:
        asked_for = deletes.read(asked.request, asked.address, partition=self._partition)
        starts(asked_for.all[0].needs[0])
        allowed: list[deletes.Deletion] = []
        refused: list[tuple[deletes.Deletion, AwsError]] = []
        for each in asked_for.all:
            try:
                for need in each.needs:
                    self._allow(asked, need)
                allowed.append(each)
            except AwsError as error:
                refused.append((each, error))
        headers = [("Content-Type", "application/xml")]
        if not allowed:
            return Response(status=200, headers=headers, body=deletes.with_errors(None, refused))
        body = Body([deletes.body_of(allowed, quiet=asked_for.quiet)])
        kept = {
            name: value
            for name, value in asked.request.headers.items()
            if name != "content-md5" and not name.startswith(checksums.PREFIX)
        }
        response = self._call(replace(asked, request=replace(asked.request, body=body, headers=kept)))
        if refused and response.status == 200:
            response.body = deletes.with_errors(response.read(), refused)
        return response

    # --- a browser's form ----------------------------------------------------------------------------------------

    def _form(
        self, request: Request, caller: Caller, address: Address, *, region: str, allow: Allow, starts: Starts
    ) -> Response:
        if caller.principal is not ANONYMOUS:
            raise AwsError(
                "InvalidArgument",
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified",
                400,
                why="a form in a signed request",
            )
        form = forms.read(request)
        try:
            if form.signed:
                caller = self._authenticator.of_form(form.fields)
                forms.check_policy(form, bucket=address.bucket, now=datetime.now(UTC))
            put = forms.as_put(request, form, bucket=address.bucket)
            response = self.answer(put, caller, hosts=(), region=region, allow=allow, starts=starts)
            if response.status >= 300:
                return response
            location = f"{'https' if request.secure else 'http'}://{request.headers.get('host', '')}{put.path}"
            return forms.answer(form, response, bucket=address.bucket, location=location)
        finally:
            form.file.close()
