"""Ways to run one attempt: as a local process, and (a later milestone) as a Kubernetes Job."""
