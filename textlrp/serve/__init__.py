"""Serves a page on this machine that explains texts as they are typed.

It may import every room up to :mod:`textlrp.export`. Start with :mod:`textlrp.serve.server`.
"""
