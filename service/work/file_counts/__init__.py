"""Counting the keys of the lines of files, over processes or machines."""
