"""Runs a model without leaving a trace in the model, the thread or the process.

The room contains no rules and may import only the errors. Start with ``model_guard``: ``copied`` gives a working
copy of a model, ``contained`` restores the modes of torch, and ``process`` redirects functions that draw random
numbers.
"""
