"""What runs in the pod, or as a local process: who am I, move, and one result."""
