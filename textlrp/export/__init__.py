"""Writes explanations for annotation tools and as tables.

It may import every room up to :mod:`textlrp.annotate`. Start with :mod:`textlrp.export.formats`, which lists them.
"""
