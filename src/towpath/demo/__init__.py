"""The whole chain on one machine, as a newcomer meets it."""
