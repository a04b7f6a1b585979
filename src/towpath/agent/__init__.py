"""The process in the owner's network: takes up syncs, launches each attempt, watches it, says how it went."""
