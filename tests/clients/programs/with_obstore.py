from __future__ import annotations

from importlib.metadata import version

import obstore
import steps
from obstore.store import S3Store

store = S3Store(steps.BUCKET)
steps.run(
    version=version("obstore"),
    write=lambda key, body: obstore.put(store, key, body),
    read=lambda key: bytes(obstore.get(store, key).bytes()),
    names=lambda prefix: [item["path"] for item in obstore.list(store, prefix).collect()],
    delete=lambda key: obstore.delete(store, key),
)
