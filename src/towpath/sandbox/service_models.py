"""botocore's own service models, read once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast


@lru_cache(maxsize=1)
def _loader() -> Any:
    import botocore.session

    return botocore.session.Session().get_component("data_loader")


@lru_cache(maxsize=64)
def source(name: str) -> dict[str, Any] | None:
    """The model of the service botocore calls `name`, or None."""
    import botocore.exceptions

    try:
        return cast("dict[str, Any]", _loader().load_service_model(name, "service-2"))
    except (botocore.exceptions.DataNotFoundError, botocore.exceptions.UnknownServiceError):
        return None
