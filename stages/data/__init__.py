"""What networks learn from: clean clips, rendered and real rain, pairs from disk."""
