"""From texts to ids, with the characters that each id stands for.

It may import errors, basics, rules, results and render. Start with :mod:`textlrp.text.encoding`.
"""
