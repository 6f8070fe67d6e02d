"""What goes into an output beside the encoded frames: streams, captions, covers, words."""
