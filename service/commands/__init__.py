"""The other commands: ``sluice fetch`` and ``sluice token``."""
