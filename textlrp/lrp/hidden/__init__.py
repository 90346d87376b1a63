"""What is between the layers: hidden states with their ledgers, the paths through a block, heads, captured modules.

It may import the engine's context and tables, and is handed to the engine as observers. Start with ``states``.
"""
