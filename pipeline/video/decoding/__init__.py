"""From packets of the film to images that are ready."""
