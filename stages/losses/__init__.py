"""What networks are paid for, and the figures they are judged by."""
