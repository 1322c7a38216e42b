"""What a step costs: ways to the meta-gradient, and whole training steps, timed side by side.

Files: the tensors (`setting`), the ways (`methods`), the stopwatch (`timing`), the memory
(`memory`), the exact reference's piece of the net (`kinks`), the three tables (`step`,
`train_steps`, `operators`), what is made of them (`report`), and the command line (`command`).
"""
