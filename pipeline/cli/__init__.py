"""The `derain` command."""
