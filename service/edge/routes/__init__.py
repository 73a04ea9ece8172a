"""The HTTP routes: topics, batches, watches, health and the page."""
