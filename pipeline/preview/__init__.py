"""A look at a film before hours of work: its rain, what becomes of it, how long it takes."""
