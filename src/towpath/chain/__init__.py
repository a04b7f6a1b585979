"""The identity chain as plain values: its links, what was observed of them, and what is wrong. Pure: no I/O."""
