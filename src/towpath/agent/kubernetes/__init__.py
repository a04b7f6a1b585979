"""Attempts as Kubernetes Jobs: what a Job looks like, what its state means, and the watching."""
