"""Explains texts: loads models, chooses labels, forms batches and windows, and assembles explanations.

It may import every room up to :mod:`textlrp.lrp`. Start with :mod:`textlrp.explain.explainer`, whose class is the
public one.
"""
