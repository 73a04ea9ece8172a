"""The faults that the service has to survive, one after the other, and what everybody else notices of them."""
