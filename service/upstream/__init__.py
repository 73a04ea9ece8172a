"""All that goes out: guarded fetches and what builds on them."""
