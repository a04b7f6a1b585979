"""towpath: open, keyless Hybrid Deployment for data pipelines."""

from typing import Final

__version__: Final = "0.1.0"
