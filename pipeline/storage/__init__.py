"""Files that lie in an object store instead of on a disk."""
