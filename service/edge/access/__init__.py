"""Who may come in: hosts, origins, credentials and load."""
