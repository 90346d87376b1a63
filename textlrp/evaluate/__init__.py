"""Measures how well methods of attribution agree with the model and with people.

It may import every room up to :mod:`textlrp.data`. Start with :mod:`textlrp.evaluate.run`, and with
:mod:`textlrp.evaluate.baselines` for the methods.
"""
