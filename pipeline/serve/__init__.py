"""A page and a REST interface that take films, keep a queue of them and give them back derained."""
