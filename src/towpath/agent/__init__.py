"""What runs in the owner's network: claims syncs and launches their attempts."""
