"""Shows explanations in the terminal, in notebooks and as HTML pages, and holds the templates of all pages.

It may import errors, basics, rules and results. Start with :mod:`textlrp.render.explanations`, which lists the three
forms.
"""
