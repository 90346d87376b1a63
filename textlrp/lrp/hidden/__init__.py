"""Observes the engine between the layers: hidden states, attention heads, paths through a block, captured modules.

It may import what :mod:`textlrp.lrp` may, and that room's other modules. Start with :mod:`textlrp.lrp.hidden.states`.
"""
