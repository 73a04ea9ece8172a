"""Jobs: work that is due now or later, kept until it has ended, and seen as it goes on.

A module that is given by ``--jobs`` registers functions with :func:`job`.
"""

from service.jobs.registry import Context, job

__all__ = ["Context", "job"]
