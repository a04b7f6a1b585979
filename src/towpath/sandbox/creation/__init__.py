"""What IAM refuses to make, change or delete. An emulator accepts it all, and the mistake then shows only when a job runs.

What one parameter may be is checked before, by `constraints`. Sources: the API reference's page of each operation, "IAM and AWS
STS quotas", and "Creating OpenID Connect (OIDC) identity providers" in the IAM User Guide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from towpath.sandbox import forgotten
from towpath.sandbox.creation import deletion, entities, policies, providers
from towpath.sandbox.creation.rule import Asked, Rule
from towpath.sandbox.iam_state import IamState

RULES: Final[Mapping[str, Rule]] = {**deletion.RULES, **entities.RULES, **policies.RULES, **providers.RULES}


class CreationRules:
    """The rules, by operation. `check` raises AwsError when AWS would not do it, or the sandbox cannot."""

    def __init__(self, state: IamState) -> None:
        self._state = state

    def check(self, operation: str, account: str, parameters: Mapping[str, Any]) -> None:
        """`parameters` as `constraints.shaped` gives them."""
        forgotten.check("iam", operation, parameters)
        rule = RULES.get(operation)
        if rule is not None:
            rule(Asked(account=account, parameters=parameters, state=self._state))
