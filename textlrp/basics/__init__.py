"""Files, options, characters and versions: small helpers for any program.

It may import :mod:`textlrp.errors` alone. Start with :mod:`textlrp.basics.files`, which writes files whole or not at
all.
"""
