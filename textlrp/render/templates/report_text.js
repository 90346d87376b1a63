// The data of the page, and how its texts are counted: Python counts code points, JavaScript UTF-16 units.
const make = (name, options = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(options)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") element.className = value;
    else if (key === "on") for (const [event, call] of Object.entries(value)) element.addEventListener(event, call);
    else if (key === "data") Object.assign(element.dataset, value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
};

const byId = id => document.getElementById(id);

const Text = (() => {
  const astral = /[\ud800-\udbff][\udc00-\udfff]/;

  /** The UTF-16 unit where the first `count` code points after the unit `from` end. */
  const forward = (text, from, count) => {
    let at = from;
    for (let i = 0; i < count; i++) at += text.codePointAt(at) > 0xffff ? 2 : 1;
    return at;
  };

  /** Count the code points before a UTF-16 unit. */
  const points = (text, unit) => {
    if (!astral.test(text)) return unit;
    let count = 0;
    for (let at = 0; at < unit; at += text.codePointAt(at) > 0xffff ? 2 : 1) count++;
    return count;
  };

  /** The UTF-16 unit at which a code point begins. */
  const units = (text, point) => (astral.test(text) ? forward(text, 0, point) : point);

  /** Replace characters that cannot be seen by as many UTF-16 units, so that offsets stay. */
  const visible = text =>
    text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]|\r(?!\n)/g, char => {
      const code = char.charCodeAt(0);
      return code < 0x20 ? String.fromCharCode(0x2400 + code) : code === 0x7f ? "\u2421" : "\ufffd";
    });

  /**
   * A text in pieces, in order, without gaps: the words that the model read, and runs of what it did not.
   * `start` and `end` count UTF-16 units; `word` is the number of the word in the document, or -1.
   */
  const pieces = (text, lengths, firstWord) => {
    const pieces = [];
    const unread = (from, to) => {
      for (const run of text.slice(from, to).matchAll(/\s+|\S+/gu)) {
        const start = from + run.index;
        pieces.push({ start, end: start + run[0].length, word: -1, blank: !run[0].trim() });
      }
    };
    let at = units(text, lengths[0]);
    unread(0, at);
    const plain = !astral.test(text);
    for (let i = 1; i < lengths.length; i++) {
      const end = plain ? at + lengths[i] : forward(text, at, lengths[i]);
      pieces.push({ start: at, end, word: firstWord + i - 1, blank: !text.slice(at, end).trim() });
      at = end;
    }
    unread(at, text.length);
    return pieces;
  };

  // Letters of scripts that are written from right to left, and characters that set the direction.
  const turning = /[\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

  /** A name inside a sentence: characters that set the direction are shown, and the name is isolated. */
  const named = name => {
    if (!turning.test(name)) return visible(name);
    const shown = visible(name).replace(/[\u202a-\u202e\u2066-\u2069]/g, char => `\\u${char.charCodeAt(0).toString(16)}`);
    return `\u2068${shown}\u2069`;
  };

  return { points, units, visible, named, pieces };
})();

const Data = (() => {
  const data = JSON.parse(byId("textlrp-data").textContent);
  const columns = data.documents || {};
  const ids = columns.id || [];
  const places = new Map(ids.map((id, i) => [id, i]));
  const lowered = [];

  /** The right labels in the data: none, one, or several of a model that gives several. */
  const given = i => [columns.label[i] ?? []].flat();

  /** A document without its explanations. */
  const of = i => ({
    index: i,
    id: ids[i],
    texts: columns.text_pair[i] === null ? [columns.text[i]] : [columns.text[i], columns.text_pair[i]],
    given: given(i),
    predicted: columns.predicted[i],
    confidence: columns.confidence[i],
    rationales: columns.rationales[i],
  });

  /** Whether a row explains why a document that is predicted wrong does not have the right label. */
  const contrasts = (i, row) => {
    const [target, contrast] = data.views[row[0]];
    return contrast !== null && target === columns.predicted[i] && given(i).length === 1 && given(i)[0] === contrast;
  };

  /** The explanation of a document in a view: "first" (the predicted label's, if it was explained), or a number. */
  const explained = (i, view) => {
    const rows = columns.explained[i];
    const row =
      view === "first"
        ? rows.find(row => data.views[row[0]][0] === columns.predicted[i] && !contrasts(i, row)) || rows[0]
        : rows.find(row => row[0] === view);
    if (!row) return null;
    const [target, contrast] = data.views[row[0]];
    const own = row.length > 7; // words and sentences of its own
    return {
      view: row[0],
      target,
      contrast,
      logit: row[1],
      probability: row[2],
      unit: row[3],
      steps: row[4],
      share: row[5],
      said: row[6],
      words: own ? row[7] : columns.words[i],
      sentences: own ? row[8] : columns.sentences[i],
    };
  };

  /** The strongest word's relevance, for sorting. */
  const strongest = (i, view) => {
    const explanation = explained(i, view);
    return explanation ? explanation.unit * data.steps : -1;
  };

  /** The labels that the model gives a document, by number. */
  const chosen = i => columns.chosen[i] ?? [columns.predicted[i]];

  const wrong = i => {
    const [right, own] = [given(i), chosen(i)];
    if (!right.length) return false;
    return columns.chosen[i] === null ? !right.includes(own[0]) : own.length !== right.length || !own.every(label => right.includes(label));
  };

  /** Everything of a document that can be searched, in lower case. */
  const searchable = i => {
    if (lowered[i] === undefined) {
      const parts = [ids[i], columns.text[i], columns.text_pair[i] || ""];
      lowered[i] = parts.join("\n").normalize("NFC").toLowerCase();
    }
    return lowered[i];
  };

  const length = i => columns.text[i].length + (columns.text_pair[i] || "").length;
  /** The explanations of a document: the number of each view, its target and contrast, and whether it says why not. */
  const views = i => columns.explained[i].map((row, place) => [row[0], ...data.views[row[0]], place > 0 && contrasts(i, row)]);

  const several = (columns.explained || []).some((rows, i) => rows.filter((row, place) => !place || !contrasts(i, row)).length > 1);

  return { ...data, columns, count: ids.length, places, of, chosen, viewsOf: views, explained, strongest, wrong, searchable, length, several };
})();

const Numbers = (() => {
  /** A number with its sign and three digits. */
  const signed = value => {
    if (value === 0) return "0";
    const size = Math.abs(Number(value.toPrecision(3)));
    const written = size < 1e-4 || size >= 1e6 ? size.toExponential(1) : size.toFixed(Math.max(0, 2 - Math.floor(Math.log10(size))));
    return (value < 0 ? "\u2212" : "+") + written;
  };
  /** A share of 1 as a percentage; only 0 and 1 themselves are written 0 and 100. */
  const percent = share => {
    const hundredths = 100 * share;
    if (hundredths > 0 && hundredths < 0.1) return "<0.1\u00a0%";
    if (hundredths > 99.9 && hundredths < 100) return ">99.9\u00a0%";
    return `${hundredths.toFixed(1)}\u00a0%`;
  };
  const count = value => value.toLocaleString("en-US");
  return { signed, percent, count };
})();
