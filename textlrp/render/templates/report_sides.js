// What an annotator's answers say together: which labels are right, and for which label marked words speak.
const Sides = (() => {
  const chosen = new Map(); // the side that was chosen for a document's next marks
  const NONE = Object.freeze({ label: null, against: false });

  const predicted = doc => Data.chosen(doc.index).map(i => Data.labels[i]);
  const alike = (one, other) => one.length === other.length && one.every(label => other.includes(label));

  /** Whether the verdict and the right labels contradict each other. */
  const contradicts = (state, doc) => {
    if (state.labels === null || !["agree", "disagree"].includes(state.verdict)) return false;
    return (state.verdict === "agree") !== alike(state.labels, predicted(doc));
  };

  /** The right labels by these marks, or null if that is not known. */
  const right = (state, doc) => {
    if (contradicts(state, doc)) return null;
    if (state.labels !== null) return state.labels;
    if (state.verdict === "agree") return predicted(doc);
    const others = Data.labels.filter(label => !predicted(doc).includes(label));
    return state.verdict === "disagree" && !Data.multi && others.length === 1 ? others : null;
  };

  /** The side that words speak for by the answers alone, or null if that is not known. */
  const implied = (state, doc) => {
    const labels = right(state, doc);
    return labels !== null && labels.length === 1 ? { label: labels[0], against: false } : null;
  };

  /** The side of the next marks: the one that was chosen, or that of the right label. */
  const current = index => {
    const doc = Data.of(index);
    return chosen.get(index) || implied(Marks.of(doc.id), doc) || NONE;
  };

  const same = (one, other) => (one.label ?? null) === (other.label ?? null) && Boolean(one.against) === Boolean(other.against);

  /** All sides: for each label, and against each if there are more than two or several can be right. */
  const all = () => [
    ...Data.labels.map(label => ({ label, against: false })),
    ...(Data.multi || Data.labels.length > 2 ? Data.labels.map(label => ({ label, against: true })) : []),
  ];

  const said = side => (side.label === null ? "" : `${side.against ? "against" : "for"} ${Text.named(side.label)}`);

  /** What is still to be asked: "contradiction", "side" (of marks without one), or nothing. */
  const question = (state, doc) => {
    if (contradicts(state, doc)) return "contradiction";
    return state.rationales.some(span => span.label === null) && !implied(state, doc) ? "side" : "";
  };

  /** Give marks without a side the one that the answers imply. */
  const settled = (state, doc) => {
    const side = implied(state, doc);
    return side === null ? state.rationales : state.rationales.map(span => (span.label === null ? { ...span, ...side } : span));
  };

  /** Whether a mark speaks for another side than the right label. */
  const aside = (span, state, doc) => {
    const side = implied(state, doc);
    return side !== null && span.label !== null && !same(span, side);
  };

  return {
    contradicts, aside, current, same, all, said, question, settled, NONE,
    choose: (index, side) => (side === null ? chosen.delete(index) : chosen.set(index, side)),
    picked: index => chosen.get(index) || null,
  };
})();
