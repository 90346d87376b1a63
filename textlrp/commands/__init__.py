"""The commands of the command line, a module for each.

It may import every room but :mod:`textlrp.cli`, which calls it. Start with :mod:`textlrp.commands.explain`, and with
:mod:`textlrp.commands.shared` for their common options.
"""
