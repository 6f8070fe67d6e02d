"""YAML presets and the pydantic schema that checks them."""
