"""The simulated upstream: a lean HTTP server that is fast, slow, large, failing, changing, strict or hostile.

=================================  ==========================================================
``/bytes/N``                       N bytes of text (the same for the same N)
``/page/KEY?latency=D&size=D``     as late and as long as two distributions say; always the same for a KEY
``/slow/MS``                       a short answer after MS milliseconds
``/status/CODE``                   a short answer with that status; 429 and 503 with ``Retry-After: 1``
``/limited/N``                     at most N answers a second, then 429 with ``Retry-After``
``/redirect/N``                    a redirect to ``/redirect/N-1``, at 0 to ``/bytes/100``
``/etag/KEY?period=S``             a document with an ``ETag`` that changes whenever the Unix time is a multiple
                                   of S seconds; answers 304; ``at`` in it is the time of the change
``/fail``                          the connection is reset
``/hostile/NAME``                  what nobody should send; ``/hostile`` lists the names
``/ledger``                        JSON: requests by kind, conditional ones, 304s, how many run and ran at most
``/ledger/reset``                  the same, and all counts back to 0
=================================  ==========================================================

A distribution is ``20`` (always), ``10..50`` (uniform), ``exp:20`` (mean) or ``lognormal:20:1.5`` (median, sigma
of the logarithm); milliseconds or bytes. ``origin --latency D --size D`` sets those of ``/page``.
"""

from loadtest.origin.protocol import OriginProtocol, serve_origin
from loadtest.origin.request_counts import RequestCounts

__all__ = ["OriginProtocol", "RequestCounts", "serve_origin"]
