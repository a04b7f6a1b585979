"""botocore's own service models, read once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast


@lru_cache(maxsize=1)
def _loader() -> Any:
    # Not a session of the user's: with an AWS_PROFILE that is not there it would refuse to load anything.
    from towpath.sandbox.emulator import sdk_session

    return sdk_session().get_component("data_loader")


@lru_cache(maxsize=64)
def source(name: str) -> dict[str, Any] | None:
    """The model of the service botocore calls `name`, or None."""
    import botocore.exceptions

    try:
        return cast("dict[str, Any]", _loader().load_service_model(name, "service-2"))
    except (botocore.exceptions.DataNotFoundError, botocore.exceptions.UnknownServiceError):
        return None
