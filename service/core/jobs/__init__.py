"""Jobs, as decisions: what may be asked for, which states a job goes through, which is due next."""
