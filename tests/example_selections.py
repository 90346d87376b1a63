"""What can be chosen of an explanation to be exported."""

from __future__ import annotations

from hypothesis import strategies as st

from textlrp.export.marks import Selection

SELECTIONS = st.builds(
    Selection, by=st.sampled_from(["word", "token", "sentence"]), threshold=st.sampled_from([0, 0.1, 0.5])
)
