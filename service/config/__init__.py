"""Every setting, and what it means to each part."""
