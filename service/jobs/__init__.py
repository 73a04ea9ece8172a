"""Jobs: work that is due now or later, kept until it has ended, and seen as it goes on."""
