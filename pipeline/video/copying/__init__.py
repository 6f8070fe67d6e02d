"""What goes into an output beside its encoded picture: streams, captions, covers, words."""
