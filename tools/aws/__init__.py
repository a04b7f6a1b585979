"""The sandbox's answers beside AWS's own, for whoever has an account. It was never run against AWS."""
