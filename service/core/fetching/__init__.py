"""What is fetched next, from which host, and whether it is tried again."""
