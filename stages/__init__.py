"""How networks are learned: rain rendering, data, losses, metrics and the training loop."""
