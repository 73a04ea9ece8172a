"""What runs on the loop for the whole service: supervised tasks, timers, and errors contained to one item."""
