"""EKS through the gate: the emulator keeps the cluster, the gate gives it an issuer and keys of its own."""

from __future__ import annotations

import json
from typing import Any, Final, cast

from towpath.sandbox import forgotten
from towpath.sandbox.backend import Backend
from towpath.sandbox.clusters import Clusters
from towpath.sandbox.errors import AwsError
from towpath.sandbox.operations import Operation
from towpath.sandbox.wire import Body, Request, Response

CLUSTER_OPERATIONS: Final = frozenset({"CreateCluster", "DescribeCluster", "DeleteCluster"})


class Eks:
    """The three operations whose answers carry an issuer; every other EKS call goes to the emulator as it is."""

    def __init__(self, *, backend: Backend, clusters: Clusters) -> None:
        self._backend = backend
        self._clusters = clusters

    def answer(self, operation: Operation, request: Request, *, account: str, region: str) -> Response:
        other = operation.parameters.get("clusterName")
        if other is not None and self._clusters.find(account=account, region=region, name=str(other)) is None:
            raise AwsError("ResourceNotFoundException", f"No cluster found for name: {other}.", 404)
        forgotten.check("eks", operation.name, operation.parameters)
        try:
            response = self._backend.call(request, service="eks", region=region, account=account)
        except AwsError as error:
            if error.code == "UnknownOperationException":  # the gate knows the operation, the emulator has no such path
                raise AwsError("NotImplemented", f"This sandbox does not have EKS's {operation.name}.", 501) from None
            if error.code == "InternalFailure" and "nextToken" in operation.parameters:
                raise AwsError("InvalidParameterException", "nextToken is invalid", 400, why=error.why) from None
            raise
        if operation.name not in CLUSTER_OPERATIONS or response.status >= 300:
            return response
        document = cast("dict[str, Any]", json.loads(response.read()))
        cluster = document["cluster"]
        name = str(cluster["name"])
        if operation.name == "CreateCluster":
            found = self._clusters.add(account=account, region=region, name=name)
        else:
            found = self._clusters.find(account=account, region=region, name=name)
        if found is None:
            raise AwsError("ResourceNotFoundException", f"No cluster found for name: {name}.", 404)
        if operation.name == "DeleteCluster":
            self._clusters.remove(account=account, region=region, name=name)
        cluster["identity"] = {"oidc": {"issuer": found.issuer_url}}
        return Response(status=response.status, headers=response.headers, body=json.dumps(document).encode())

    def create(self, name: str, *, account: str, region: str, partition: str) -> None:
        """The cluster every sandbox starts with: made without its keys, which wait for the first token."""
        body = json.dumps(
            {"name": name, "roleArn": f"arn:{partition}:iam::{account}:role/{name}-cluster", "resourcesVpcConfig": {}}
        ).encode()
        request = Request(
            method="POST",
            path="/clusters",
            headers={"content-type": "application/json", "host": "localhost"},
            body=Body([body]),
        )
        self.answer(
            Operation(service="eks", name="CreateCluster", protocol="rest-json"),
            request,
            account=account,
            region=region,
        )
