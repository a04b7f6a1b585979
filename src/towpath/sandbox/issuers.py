"""Where the gate gets an issuer's documents: its own clusters' from memory, everybody else's over the network."""

from __future__ import annotations

from typing import Any, Final

from towpath.oidc.errors import IssuerUnreachable
from towpath.oidc.fetch import Fetcher
from towpath.sandbox.clusters import Clusters

DISCOVERY: Final = "/.well-known/openid-configuration"


class SandboxFetcher(Fetcher):
    """A Fetcher that answers for the sandbox's own issuers, so that an exchange needs no second connection to itself."""

    def __init__(self, clusters: Clusters, outside: Fetcher) -> None:
        super().__init__(())
        self._clusters = clusters
        self._outside = outside

    def get_json(self, url: str) -> dict[str, Any]:
        issuer, document = (
            (url.removesuffix(DISCOVERY), "discovery") if url.endswith(DISCOVERY) else (url.rpartition("/")[0], "keys")
        )
        cluster = self._clusters.of_issuer(issuer.rpartition("/")[2])
        if cluster is None or cluster.issuer_url != issuer:
            return self._outside.get_json(url)
        if document == "keys" and url != cluster.issuer.discovery_document()["jwks_uri"]:
            raise IssuerUnreachable(f"{url} is not where this issuer keeps its keys", where=url)
        return cluster.issuer.jwks() if document == "keys" else cluster.issuer.discovery_document()
