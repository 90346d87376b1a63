"""Difference rules: each operation is measured from its value in a run of the model on a reference.

One file a kind of operation, for the kinds whose plain gradient is not exact. Each rule obeys one law: with ``d`` for a
value minus its value in the reference run, ``sum(c_x d_x)`` over the inputs is ``sum(c_y d_y)``. So the explained logit
is that of the reference plus the relevance of the ids, and constants have no part in it (Shrikumar et al. 2017).

It may import the engine's context and tables. Start with ``lockstep``, which calls each function on both runs, then
``elementwise`` and ``products``.
"""
