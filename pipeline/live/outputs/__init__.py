"""Where a live result goes besides viewers: files, other programs, virtual cameras."""
