"""The scene behind the rain, from a camera that stands still."""
