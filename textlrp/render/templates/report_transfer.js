// Downloads marks as JSON lines, and reads such files.
const Transfer = (() => {
  const VERDICTS = ["agree", "disagree", "unsure"];

  /** All marks of the annotator as they are downloaded, in the order of the documents. */
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
        verdict: value.verdict,
        labels: value.labels,
        comment: value.comment,
        rationales: value.rationales,
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
    if (mark.format !== 1 && mark.format !== 2) return "has a format that this page does not read";
    if (mark.report !== Data.id) return "belongs to another report";
    if (typeof mark.annotator !== "string" || !mark.annotator.trim()) return "has no annotator";
    if (typeof mark.document !== "string") return "names no document";
    const index = Data.places.get(mark.document);
    if (index === undefined && !Data.page && !Data.pages) return "names a document that is not in this report";
    if (mark.verdict !== null && !VERDICTS.includes(mark.verdict)) return "has an unknown verdict";
    const labels = labelsOf(mark);
    if (labels !== null && !(Array.isArray(labels) && labels.every(known))) return "has an unknown label";
    if (typeof mark.comment !== "string" || typeof mark.blind !== "boolean") return "is incomplete";
    if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(mark.changed)) return "has no time";
    if (!Array.isArray(mark.rationales)) return "is incomplete";
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

  /** Take in the marks of a downloaded file; return sentences that say what was done. */
  const take = written => {
    const said = [];
    const counts = new Map();
    const bad = [];
    written.replace(/^\ufeff/, "").split("\n").forEach((line, i) => {
      if (!line.trim()) return;
      let mark = null;
      try {
        mark = JSON.parse(line);
      } catch {
        bad.push(`line ${i + 1} is not JSON`);
        return;
      }
      const wrong = complaint(mark);
      if (wrong) {
        bad.push(`line ${i + 1} ${wrong}`);
        return;
      }
      const { annotator, document: id, verdict, comment, rationales, blind, changed } = mark;
      const spans = rationales.map(({ start, end, text, source, label = null, against = false }) => ({
        start, end, text, source, label, against,
      }));
      const taken = Marks.receive(annotator, id, {
        verdict, labels: labelsOf(mark), comment, rationales: spans, blind, changed,
      });
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

  return { lines, download, take };
})();
