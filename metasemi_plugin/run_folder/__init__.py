"""What a run keeps: its files, lock, record and checkpoints. Knows nothing of semilearn."""
