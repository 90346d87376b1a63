// Downloads marks as JSON lines, and reads such files.
const Transfer = (() => {
  const VERDICTS = ["agree", "disagree", "unsure"];

  /** All marks of the annotator as they are downloaded, in the order of the documents. */
  const textsOf = id => {
    const index = Data.places.get(id);
    if (index === undefined) return {}; // the index of a report has no texts
    const [text, text_pair = null] = Data.of(index).texts;
    return { text, text_pair, predicted: Data.chosen(index).map(i => Data.labels[i]) };
  };

  const lines = () => {
    const place = id => Data.places.get(id) ?? Infinity;
    const sorted = Marks.all().sort(([a], [b]) => place(a) - place(b) || (a < b ? -1 : 1));
    return sorted.map(([id, value]) =>
      JSON.stringify({
        textlrp: "annotation",
        format: 2,
        report: Data.id,
        annotator: Marks.name,
        document: id,
        ...textsOf(id),
        verdict: value.verdict,
        labels: value.labels,
        comment: value.comment,
        rationales: value.rationales,
        reasons: value.reasons,
        blind: value.blind,
        changed: value.changed.slice(0, 19) + "Z",
      }),
    );
  };

  const download = () => {
    const blob = new Blob([lines().map(line => line + "\n").join("")], { type: "application/jsonl" });
    const address = URL.createObjectURL(blob);
    const annotator = Marks.name.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 40) || "annotator";
    const link = make("a", { href: address, download: `marks-${Data.id.slice(0, 8)}-${annotator}.jsonl` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
    Marks.downloaded();
  };

  const known = label => Data.labels.includes(label);

  /** The right labels of a line; format 1 had one. */
  const labelsOf = mark => (mark.format === 1 ? (mark.label === null ? null : [mark.label]) : mark.labels);

  /** Say why a line cannot be used, or nothing. */
  const complaint = mark => {
    if (typeof mark !== "object" || mark === null || mark.textlrp !== "annotation") return "is not a mark";
    if (mark.adjudicated) return "is a decision of an adjudicator";
    if (mark.format !== 1 && mark.format !== 2) return "has a format that this page does not read";
    if (mark.report !== Data.id) return "belongs to another report, and its text is not here";
    if (typeof mark.annotator !== "string" || !mark.annotator.trim()) return "has no annotator";
    if (typeof mark.document !== "string") return "names no document";
    const index = Data.places.get(mark.document);
    if (index === undefined && !Data.page && !Data.pages) return "names a document that is not in this report";
    if (mark.verdict !== null && !VERDICTS.includes(mark.verdict)) return "has an unknown verdict";
    const labels = labelsOf(mark);
    if (labels !== null && !(Array.isArray(labels) && labels.every(known))) return "has an unknown label";
    if (typeof mark.comment !== "string" || typeof mark.blind !== "boolean") return "is incomplete";
    if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(mark.changed)) return "has no time";
    if (!Array.isArray(mark.rationales) || !Array.isArray(mark.reasons ?? [])) return "is incomplete";
    const texts = index === undefined ? null : Data.of(index).texts;
    let before = { source: "text", start: 0 };
    for (const span of mark.rationales) {
      const { start, end, text, source, label = null } = span || {};
      if (label !== null && !known(label)) return "has an unknown label";
      if (source !== "text" && source !== "text_pair") return "marks words of no text";
      if (!Number.isInteger(start) || !Number.isInteger(end) || start < 0 || end <= start) return "marks words of no text";
      if (source === before.source ? start < before.start : source < before.source) return "marks words out of order";
      before = span;
      if (!texts) continue;
      const whole = texts[source === "text" ? 0 : 1];
      if (whole === undefined) return "marks words of no text";
      if (whole.slice(Text.units(whole, start), Text.units(whole, end)) !== text) return "marks words that are not there";
    }
    return "";
  };

  let byText = null;

  /** A line of another report as one of this one, if exactly one document has its text, or that of its id. */
  const fitted = mark => {
    if (typeof mark !== "object" || mark === null || mark.report === Data.id || typeof mark.text !== "string") return mark;
    if (Data.pages) return mark;
    const key = (text, pair) => JSON.stringify([text, pair ?? null]);
    if (byText === null) {
      byText = new Map();
      Data.columns.id.forEach((id, i) => {
        const [text, pair] = Data.of(i).texts;
        byText.set(key(text, pair), [...(byText.get(key(text, pair)) || []), id]);
      });
    }
    const found = byText.get(key(mark.text, mark.text_pair)) || [];
    if (!found.includes(mark.document) && found.length !== 1) return mark;
    const id = found.includes(mark.document) ? mark.document : found[0];
    const now = Data.chosen(Data.places.get(id)).map(i => Data.labels[i]);
    const before = mark.predicted || [];
    const same = before.length === now.length && before.every(label => now.includes(label));
    const changed = same ? {} : { verdict: null, labels: labelsOf(mark) ?? implied(mark.verdict, before) };
    return { ...mark, report: Data.id, document: id, ...changed };
  };

  /** The right labels that follow from a verdict on what an older model said. */
  const implied = (verdict, before) => {
    const others = Data.labels.filter(label => !before.includes(label));
    return verdict === "agree" && before.length ? before : verdict === "disagree" && others.length === 1 && !Data.multi ? others : null;
  };

  /** Keep a line under its annotator's name, unless a later mark is there. */
  const keep = mark => {
    const { annotator, document: id, verdict, comment, rationales, reasons = [], blind, changed } = mark;
    const spans = rationales.map(({ start, end, text, source, label = null, against = false }) => ({
      start, end, text, source, label, against,
    }));
    const value = { verdict, labels: labelsOf(mark), comment, rationales: spans, reasons, blind, changed };
    return Marks.receive(annotator, id, value);
  };

  /** Take in the marks that the report was made with; return a sentence, or nothing. */
  const start = () => {
    const counts = new Map();
    for (const line of Data.marks) {
      const mark = fitted(line);
      if (complaint(mark) || !keep(mark)) continue;
      counts.set(mark.annotator, (counts.get(mark.annotator) || 0) + 1);
    }
    if (!counts.size) return "";
    Marks.reload();
    const told = [...counts].map(([annotator, count]) => `${Numbers.count(count)} of ${Text.named(annotator)}`);
    return `Marks of earlier work are here: ${told.join(", ")}. Choose your name to go on from them.`;
  };

  /** Take in the marks of a downloaded file; return sentences that say what was done. */
  const take = written => {
    const said = [];
    const counts = new Map();
    const bad = [];
    written.replace(/^\ufeff/, "").split("\n").forEach((line, i) => {
      if (!line.trim()) return;
      let mark = null;
      try {
        mark = fitted(JSON.parse(line));
      } catch {
        bad.push(`line ${i + 1} is not JSON`);
        return;
      }
      const wrong = complaint(mark);
      if (wrong) {
        bad.push(`line ${i + 1} ${wrong}`);
        return;
      }
      const { annotator } = mark;
      const taken = keep(mark);
      const [all, used] = counts.get(annotator) || [0, 0];
      counts.set(annotator, [all + 1, used + taken]);
    });
    for (const [annotator, [all, used]] of counts) {
      const rest = all - used;
      said.push(
        `${Numbers.count(used)} ${used === 1 ? "mark" : "marks"} of ${Text.named(annotator)} taken` +
          (rest ? `; ${Numbers.count(rest)} left as ${rest === 1 ? "it was" : "they were"}, here as new or newer.` : "."),
      );
    }
    if (bad.length) {
      const more = bad.length > 3 ? ` and ${bad.length - 3} more` : "";
      said.push(`Not usable: ${bad.slice(0, 3).join(", ")}${more}.`);
    }
    if (!counts.size && !bad.length) said.push("There are no marks in this file.");
    const names = [...counts.keys()];
    if (names.length === 1 && names[0] !== Marks.name) {
      if (!Marks.name || !Marks.count()) Marks.enter(names[0]);
      else said.push(`You are ${Text.named(Marks.name)}: change the name to see them.`);
    }
    Marks.reload();
    return said;
  };

  return { lines, download, take, start };
})();
