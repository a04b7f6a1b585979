"""STS, answered by the gate itself: an exchange is verified from the token's signature to the trust policy, or refused.

`service` knows the operations, one module each; `session` what a session carries; `answers` the XML.
"""

from towpath.sandbox.sts.service import UNSIGNED as UNSIGNED
from towpath.sandbox.sts.service import Sts as Sts
