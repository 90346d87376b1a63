"""Reads the annotations of a report, and compares annotators with each other and with the model.

It may import every room up to :mod:`textlrp.report`. Start with :mod:`textlrp.annotate.comparison`.
"""
