"""How a network is run: over a stream, in tiles, within memory."""
