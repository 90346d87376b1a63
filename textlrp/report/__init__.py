"""Writes the HTML report of many documents, which annotators read, mark and send back.

It may import every room up to :mod:`textlrp.check`. Start with :mod:`textlrp.report.writing`.
"""
