"""The engine: input ids and a model in, relevance and a ledger out.

It may import the guard of models, results, rules and the rooms below them, but nothing about texts or tokenizers.
Start with ``propagation``, then ``attempt`` (one forward and backward pass), ``dispatch`` (each torch function is
given its rule) and ``linear`` (a rule, forward and backward); ``operations`` lists the kind of each torch function.
``reference`` and ``difference`` hold the difference rules, for which a second run on a reference goes beside the first.
"""
