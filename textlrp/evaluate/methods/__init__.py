"""The methods that relevance propagation is compared with, a module for each family.

It may import what :mod:`textlrp.evaluate` may, and that room's other modules. Start with
:mod:`textlrp.evaluate.methods.passes`, which runs the model for all of them.
"""
