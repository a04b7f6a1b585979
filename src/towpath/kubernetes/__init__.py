"""The way to a Kubernetes API server, and its refusals in words: what identity and agent share."""
