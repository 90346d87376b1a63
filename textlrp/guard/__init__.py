"""Runs a model so that nothing of the run can be seen in it afterwards, nor in the thread or in the process.

The room knows no rules; it may import the errors alone. Start with ``model_guard``: ``copied`` gives a working
copy of a model, ``contained`` restores the modes of torch, and ``process`` redirects what draws random numbers.
"""
