"""A camera cleaned live: capture, the session, the page, recording."""
