"""Documents in, explained documents out: reads tables and corpora, and keeps records and runs in files.

It may import every room up to :mod:`textlrp.explain`. Start with :mod:`textlrp.data.documents` for reading and
:mod:`textlrp.data.records` for explained documents.
"""
