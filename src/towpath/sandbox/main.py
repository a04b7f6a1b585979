"""The sandbox's story: an emulator, a gate in front of it, a cluster with an issuer, a listener, and a way to stop."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from towpath.iam import partition as partitions
from towpath.oidc.fetch import Fetcher
from towpath.oidc.jwks import JwksCache
from towpath.sandbox import facts
from towpath.sandbox.accounts import Accounts
from towpath.sandbox.admin import PREFIX, Admin
from towpath.sandbox.authorise import Authoriser
from towpath.sandbox.backend import CALL, Backend
from towpath.sandbox.buckets import Buckets
from towpath.sandbox.clusters import Clusters
from towpath.sandbox.eks import Eks
from towpath.sandbox.errors import SandboxError
from towpath.sandbox.faults import Faults
from towpath.sandbox.gate import Gate
from towpath.sandbox.iam_state import IamState
from towpath.sandbox.issuers import SandboxFetcher
from towpath.sandbox.journal import Journal
from towpath.sandbox.principals import Key, Keys
from towpath.sandbox.record import Record
from towpath.sandbox.server import Server
from towpath.sandbox.settings import SandboxSettings
from towpath.sandbox.state_directory import JOURNAL, OBJECTS, RESETTING, TLS, StateDirectory
from towpath.sandbox.sts import Sts
from towpath.sandbox.tls import Authority, TrustFiles

ALL_ADDRESSES: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound; and how to reach them
REWRITTEN: Final = 16 * 1024 * 1024  # bytes of a journal from which on a start leaves out what no longer counts
KEY_INTERVAL: Final = (
    1.0  # seconds between two looks for a rotated key; tests rotate, and wait no longer than they must
)


class Sandbox:
    """An AWS on this machine, for as long as the `with` block lasts (or from `start` to `stop`)."""

    def __init__(self, settings: SandboxSettings | None = None) -> None:
        self.settings = settings or SandboxSettings()
        self._directory = StateDirectory.open(self.settings.state) if self.settings.state else StateDirectory.make()
        try:
            self._build()
        except (OSError, sqlite3.DatabaseError) as error:
            self._directory.close()
            raise self._unusable(error) from None
        except BaseException:
            self._directory.close()
            raise

    def _unusable(self, error: OSError | sqlite3.DatabaseError) -> SandboxError:
        """The directory's disk is full, or something in it is not what a sandbox put there."""
        path, kept = self._directory.path, self.settings.state is not None
        if isinstance(error, OSError):
            what, where = error.strerror or str(error), str(error.filename or path)
        else:
            what, where = str(error), str(path / OBJECTS)
        return SandboxError(
            f"the sandbox cannot use its directory: {what[:1].lower()}{what[1:]}",
            where=where,
            todo="see that its disk has room; if so, restore the directory from a copy, or give another with --state"
            if kept
            else "see that the disk has room, or name another with TMPDIR",
        )

    def _build(self) -> None:
        self._backend = backend = Backend(self._directory.path / OBJECTS, fsync=self.settings.fsync)
        self._state = state = IamState(backend, partition=self.settings.partition)
        authoriser = Authoriser(state)
        self.clusters = Clusters()
        self.record = Record()
        self.faults = Faults(self.settings.faults, seed=self.settings.fault_seed)
        self.buckets = Buckets()
        self.secret = secrets.token_urlsafe(32)
        self._keys = Keys()
        self.accounts = Accounts(self._keys, partition=self.settings.partition)
        self._journal = self._remember() if self.settings.state else None
        self.admin_key: Key = self.account(self.settings.account)
        for account in self.settings.accounts:
            self.account(account)
        fetcher = SandboxFetcher(self.clusters, Fetcher(self.settings.issuers))
        sts = Sts(
            state=state, keys=self._keys, jwks=JwksCache(fetcher, refetch_interval=KEY_INTERVAL), authoriser=authoriser
        )
        self._eks = eks = Eks(backend=backend, clusters=self.clusters)
        hosts = {"localhost", "127.0.0.1", "::1", self.settings.listen, *self.settings.hosts}
        self.gate = Gate(
            backend=backend,
            state=state,
            keys=self._keys,
            sts=sts,
            eks=eks,
            admin=Admin(
                clusters=self.clusters,
                record=self.record,
                faults=self.faults,
                secret=self.secret,
                accounts=self.accounts,
                reset=self.reset,
            ),
            authoriser=authoriser,
            record=self.record,
            faults=self.faults,
            buckets=self.buckets,
            accounts=self.accounts,
            region=self.settings.region,
            hosts=hosts,
        )
        self._first_cluster()
        self._authority = Authority(hosts - ALL_ADDRESSES.keys())
        self._trust: TrustFiles | None = None
        self._server = Server(
            self.gate.handle, host=self.settings.listen, port=self.settings.port, tls=self._authority.context
        )

    def _first_cluster(self) -> None:
        place = {"account": self.settings.account, "region": self.settings.region}
        if self.clusters.find(**place, name=self.settings.cluster) is None:
            with self._backend.together():
                self._eks.create(self.settings.cluster, **place, partition=self.settings.partition)

    def _remember(self) -> Journal:
        """What an earlier run acknowledged is true again, and what this one will is kept."""
        header = {"account": self.settings.account, "partition": self.settings.partition, "moto": self._backend.version}
        journal = Journal(self._directory.path / JOURNAL, header, fsync=self.settings.fsync)
        if self._resetting.exists():  # killed while it was being emptied
            journal.rewrite(facts.administrator_only(self.settings.account))
            self._backend.reset()
            self._resetting.unlink()
        elif journal.size > REWRITTEN:
            journal.rewrite(facts.still_counts(datetime.now(UTC)))
        journal.replay(
            {
                CALL: self._again,
                facts.KEY: facts.follow_keys(self._keys, journal),
                **facts.follow_clusters(self.clusters, journal),
                facts.SECRET: self._take_secret,
            }
        )
        journal.add(facts.SECRET, {"secret": self.secret})
        self.accounts.restore()
        self._backend.follow(journal)
        for request, account in self._backend.reconcile():
            self.buckets.follow(request, account=account)
        return journal

    def _again(self, fact: dict[str, Any]) -> None:
        request = self._backend.again(fact)
        if fact["service"] == "s3":
            self.buckets.follow(request, account=fact["account"])

    def _take_secret(self, fact: Mapping[str, str]) -> None:
        self.secret = fact["secret"]

    def reset(self) -> None:
        """Empty it: all but the listener, its CA, and the administrator's key and secret. What is kept on disk goes too."""
        with self._backend.together():
            self._resetting.touch(mode=0o600)
            if self._journal is not None:
                self._journal.rewrite(facts.administrator_only(self.settings.account))
            self._backend.reset()
            self.buckets.clear()
            self._keys.clear([self.admin_key])
            self.accounts.restore()
            for account in self.settings.accounts:
                self.account(account)
            self.clusters.clear()
            self._state.clear()
            self._first_cluster()
            self.record.clear()
            self._resetting.unlink()

    @property
    def _resetting(self) -> Path:
        return self._directory.path / RESETTING

    def start(self) -> Self:
        self._server.start()
        folder = self._directory.path / TLS
        try:
            self._trust = TrustFiles(self._authority.certificate, environ=os.environ, directory=folder)
        except OSError as error:
            self.stop()
            raise self._unusable(error) from None
        return self

    def stop(self) -> None:
        self.record.close()
        self._server.stop()
        if self._journal is not None:
            self._journal.close()
        self._backend.close()
        self._directory.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def account(self, account: str) -> Key:
        """The root key of an account, which exists from now on. Raises UsageError unless `account` is twelve digits."""
        return self.accounts.root(account)

    @contextmanager
    def sessions_of(self, longest: timedelta) -> Generator[None]:
        """Sessions that begin within the block end after `longest`, whatever was asked for.

        AWS gives none of less than 15 minutes; this is how a test sees a client refresh. It makes sessions shorter and
        never longer, and no request can ask for it.
        """
        self._keys.longest_session = longest
        try:
            yield
        finally:
            self._keys.longest_session = None

    @property
    def endpoint(self) -> str:
        """The URL to give an SDK as AWS_ENDPOINT_URL."""
        # An SDK cannot connect to the address that stands for all of them.
        host = ALL_ADDRESSES.get(self.settings.listen, self.settings.listen)
        return f"http://[{host}]:{self._server.port}" if ":" in host else f"http://{host}:{self._server.port}"

    @property
    def tls_endpoint(self) -> str:
        """The same address over TLS, for a client that refuses http. It has to trust `ca_file`."""
        return self.endpoint.replace("http://", "https://", 1)

    @property
    def ca_file(self) -> str:
        """The certificate of the sandbox's own CA, PEM: a new CA at each start, at the same path where `state` is given."""
        return str(self._started.certificate)

    @property
    def _started(self) -> TrustFiles:
        if self._trust is None:
            raise SandboxError("this sandbox was not started", where="towpath.sandbox", todo="use it in a `with` block")
        return self._trust

    @property
    def control_url(self) -> str:
        """The sandbox's own interface (tokens, service accounts, calls)."""
        return self.endpoint + PREFIX

    def aws_environment(self) -> dict[str, str]:
        """The administrator's environment, for any AWS SDK or the aws CLI."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.admin_key.access_key,
            "AWS_SECRET_ACCESS_KEY": self.admin_key.secret,
            "AWS_REGION": self.settings.region,
            "AWS_DEFAULT_REGION": self.settings.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def towpath_environment(self) -> dict[str, str]:
        """Where towpath finds this sandbox's clusters and their issuers' documents."""
        suffix = partitions.of_region(self.settings.region).dns_suffix
        own = f"https://oidc.eks.*.{suffix}/id/={self.control_url}/issuers/"
        # A mapping that the operator gave is more exact than the pattern for the sandbox's own, so it comes first.
        others = [f"{m.public}={m.local}" + (f",{m.ca_file}" if m.ca_file else "") for m in self.settings.issuers]
        return {
            "TOWPATH_SANDBOX_URL": self.control_url,
            "TOWPATH_SANDBOX_SECRET": self.secret,
            "TOWPATH_SANDBOX_CLUSTER": self.settings.cluster,
            "TOWPATH_ISSUER_MAP": " ".join([*others, own]),
        }

    def trust_environment(self) -> dict[str, str]:
        """What makes clients trust the sandbox's CA, beside what they trusted before."""
        return {"TOWPATH_SANDBOX_TLS_ENDPOINT": self.tls_endpoint, **self._started.variables}

    def environment(self) -> dict[str, str]:
        return {**self.aws_environment(), **self.towpath_environment(), **self.trust_environment()}


def without_aws(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without anything that would steer an AWS SDK elsewhere than to the sandbox."""
    return {
        key: value
        for key, value in environ.items()
        if not key.startswith(("AWS_", "TOWPATH_SANDBOX_", "TOWPATH_ISSUER_MAP"))
    }
