"""The training loop, its processes, checkpoints and validation."""
