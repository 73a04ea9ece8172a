"""Topics: rings of messages, their readers, and who is visited when."""
