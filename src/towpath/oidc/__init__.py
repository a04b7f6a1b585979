"""OpenID Connect as STS speaks it: discovery, keys, verification, and a small signing issuer."""
