"""The identity chain in the world: what is wanted, what is there, the changes between the two, and the proof."""
