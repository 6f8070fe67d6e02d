"""What networks are made of: optical flow, the aligned window, the physics of rain, layers."""
