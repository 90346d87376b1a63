// The words of a decision: ranges of a document's texts, each for a label. Ranges here count UTF-16 units.
const Words = (() => {
  const key = source => (source ? "text_pair" : "text");
  const same = (one, other) => one.label === other.label && Boolean(one.against) === Boolean(other.against);
  const pieces = new Map();

  /** The words of a text, in pieces without gaps. */
  const cut = (index, source) => {
    const name = `${index} ${source}`;
    if (!pieces.has(name)) pieces.set(name, Text.pieces(Data.cases[index].texts[source], Data.cases[index].words[source], 0));
    return pieces.get(name);
  };

  /** Widen a range to whole words; null if there is no word in it. */
  const snap = (index, source, [start, end]) => {
    const inside = cut(index, source).filter(piece => !piece.blank && piece.start < end && piece.end > start);
    return inside.length ? [inside[0].start, inside.at(-1).end] : null;
  };

  /** The marks of a text, with their ranges in units. */
  const here = (index, source, marks) => {
    const text = Data.cases[index].texts[source];
    return marks
      .filter(mark => mark.source === key(source))
      .map(({ start, end, label, against }) => ({ start: Text.units(text, start), end: Text.units(text, end), label, against }));
  };

  const trimmed = (text, mark) => {
    const part = text.slice(mark.start, mark.end);
    return { ...mark, start: mark.start + part.length - part.trimStart().length, end: mark.end - part.length + part.trimEnd().length };
  };

  const without = (text, marks, [from, to]) =>
    marks
      .flatMap(mark => [{ ...mark, end: Math.min(mark.end, from) }, { ...mark, start: Math.max(mark.start, to) }])
      .filter(mark => mark.end > mark.start)
      .map(mark => trimmed(text, mark))
      .filter(mark => mark.end > mark.start);

  /** Join marks of one side that touch or have only white space between them. */
  const joined = (text, marks) => {
    const found = [];
    for (const mark of [...marks].sort((a, b) => a.start - b.start)) {
      const last = found.findLast(other => same(other, mark));
      if (last && (mark.start <= last.end || !text.slice(last.end, mark.start).trim())) last.end = Math.max(last.end, mark.end);
      else found.push({ ...mark });
    }
    return found;
  };

  /** All marks of a document, with those of one text replaced; offsets count code points again. */
  const replaced = (index, source, marks, own) => {
    const text = Data.cases[index].texts[source];
    const written = own.map(({ start, end, label, against }) => ({
      start: Text.points(text, start), end: Text.points(text, end), text: text.slice(start, end), source: key(source), label, against,
    }));
    const others = marks.filter(mark => mark.source !== key(source));
    return [...others, ...written].sort((a, b) => (a.source === b.source ? a.start - b.start : a.source < b.source ? -1 : 1));
  };

  /** Remove the words of a range from the marks. */
  const drop = (index, source, marks, range) => {
    const text = Data.cases[index].texts[source];
    return replaced(index, source, marks, without(text, here(index, source, marks), snap(index, source, range) || range));
  };

  /** Let the words of a range speak for a label, and for no other. */
  const add = (index, source, marks, range, label) => {
    const whole = snap(index, source, range);
    if (!whole) return marks;
    const text = Data.cases[index].texts[source];
    const rest = without(text, here(index, source, marks), whole);
    return replaced(index, source, marks, joined(text, [...rest, { start: whole[0], end: whole[1], label, against: false }]));
  };

  const said = ({ label, against }) => (label === null ? "" : `${against ? "against" : "for"} ${Text.named(label)}`);

  /** Fill a block with a text and its marks; those for another than the right labels are dashed. */
  const paint = (block, index, source, state) => {
    const text = Data.cases[index].texts[source];
    const marks = here(index, source, state.rationales);
    const edges = [...new Set([0, text.length, ...marks.flatMap(({ start, end }) => [start, end])])].sort((a, b) => a - b);
    block.replaceChildren(
      ...edges.slice(1).map((end, i) => {
        const start = edges[i];
        const shown = Text.visible(text.slice(start, end));
        const on = marks.filter(mark => mark.start <= start && end <= mark.end);
        if (!on.length) return shown;
        const right = on.some(mark => !mark.against && (mark.label === null || (state.labels || []).includes(mark.label)));
        return make("mark", { class: right ? null : "aside", title: on.map(said).join(", ") }, shown);
      }),
    );
  };

  return { add, drop, snap, here, said, paint };
})();
