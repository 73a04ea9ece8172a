"""Who may do what, and how fast."""
