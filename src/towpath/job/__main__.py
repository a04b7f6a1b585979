"""`python -m towpath.job`: the container's command."""

import sys

from towpath.job.main import main

sys.exit(main())
