"""Trained weights (`NAME.safetensors`, float16) and their model cards (`NAME.md`)."""
