"""One film over many workers that share a folder: plan, work, join; and many films so."""
