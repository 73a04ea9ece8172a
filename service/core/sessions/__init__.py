"""One client's protocol: its requests, answers and rates."""
