"""Rendered scenes and rendered rain: the demo and `derain synth`."""
