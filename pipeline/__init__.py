"""What a user runs: reading and writing video, the streaming loop, evaluation, the command line.

`video` and `color` import nothing of ours; networks live in `derain.models`, training in `derain.stages`.
"""
