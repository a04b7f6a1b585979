"""An AWS on this machine that refuses what AWS refuses: a gate in front of an emulator left unauthenticated."""
