"""IAM as plain values: ARNs, partitions, policy documents, and the decision. Pure: no I/O, no SDK."""
