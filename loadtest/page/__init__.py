"""A report as a web page: one file at the end of a run, and the same page served while the run goes on."""
