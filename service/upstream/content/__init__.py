"""What a body says: its encoding, its text, and what is selected from it."""
