"""A real Kubernetes on one Linux machine, without a container registry: for developers and for the cluster tests."""
