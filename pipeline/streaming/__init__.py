"""One film from source to target: the streaming loop, shots, checkpoints, batches of inputs."""
