"""Each benchmark pairs towpath with a named peer in one run and prints the ratio."""
