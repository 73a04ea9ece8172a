"""The commands beside ``serve``: ``fetch``, ``token``, and what is done with a data directory."""
