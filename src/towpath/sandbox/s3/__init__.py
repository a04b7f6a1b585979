"""S3 at the gate: which operation a request is, what it needs, how its body and its forms are read, what a bucket's policy may say."""
