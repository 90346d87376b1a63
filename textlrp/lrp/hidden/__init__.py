"""Relevance between the layers: hidden states with their ledgers, paths through a block, heads, captured modules.

It may import the engine's context and tables; the engine gets its observers as arguments. Start with ``states``.
"""
