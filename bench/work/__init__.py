"""``./x bench work``: each kind of work where its bottleneck is, beside how one would write it by hand."""
