"""Work on bodies: each step where its bottleneck is, and the files that come of it."""
