// Which documents are listed, and in which order; the form, the address and the list always agree.
const Search = (() => {
  const name = "found";
  const supported = typeof Highlight === "function" && CSS.highlights;

  /** The words and quoted phrases of a search; a document must have all of them. */
  const needles = text =>
    [...text.normalize("NFC").toLowerCase().matchAll(/"([^"]+)"?|(\S+)/g)].map(match => match[1] ?? match[2]);

  const matches = (index, sought) => {
    const text = Data.searchable(index);
    return sought.every(needle => text.includes(needle));
  };

  /** Highlight the words of the search in a block of text, without changing its elements. */
  const highlight = block => {
    if (!supported || !View.needles.length) return;
    const walker = document.createTreeWalker(block, NodeFilter.SHOW_TEXT);
    const nodes = [];
    let text = "";
    while (walker.nextNode()) {
      nodes.push([text.length, walker.currentNode]);
      text += walker.currentNode.data;
    }
    const lower = text.toLowerCase();
    if (lower.length !== text.length) return;
    const spot = unit => {
      let last = nodes[0];
      for (const node of nodes) if (node[0] <= unit) last = node;
      return [last[1], unit - last[0]];
    };
    for (const needle of View.needles) {
      for (let at = lower.indexOf(needle); at >= 0; at = lower.indexOf(needle, at + needle.length)) {
        const range = document.createRange();
        range.setStart(...spot(at));
        range.setEnd(...spot(at + needle.length));
        if (!CSS.highlights.has(name)) CSS.highlights.set(name, new Highlight());
        CSS.highlights.get(name).add(range);
      }
    }
  };

  const forget = () => supported && CSS.highlights.delete(name);

  return { needles, matches, highlight, forget };
})();

const Filter = (() => {
  const form = byId("filter");
  const fields = form.elements;
  // The default of each field; the address holds only the fields that differ.
  const DEFAULTS = {
    find: "", predicted: "", given: "", outcome: "", from: "0", to: "100", marks: "", sort: "order",
    queue: "own", by: "word", view: "first", scale: "one", threshold: "10",
  };
  const MODEL = ["predicted", "given", "outcome", "from", "to"]; // hidden while the model's view is hidden
  const values = { ...DEFAULTS };
  let wanted = null; // the document that the address names

  const secret = () => Data.blind && Data.columns.id.some(id => Marks.hidden(id));

  const fill = (select, options) => select.append(...options.map(([value, text]) => make("option", { value }, text)));

  const prepare = () => {
    const labels = Data.labels.map((label, i) => [i, label]);
    const chosen = new Set(Data.columns.id.flatMap((_, i) => Data.chosen(i)));
    const used = column => labels.filter(([i]) => Data.columns[column].some(value => [value].flat().includes(i)));
    fill(fields.predicted, labels.filter(([i]) => chosen.has(i)));
    fill(fields.given, used("label"));
    const labeled = Data.columns.label.some(label => label !== null);
    for (const name of ["given", "outcome"]) fields[name].closest("label").hidden = !labeled;
    const sure = Data.columns.confidence.some(confidence => confidence !== null);
    byId("confidence").hidden = !sure;
    const views = Data.views.map(([target, contrast], i) => [
      i, contrast === null ? Data.labels[target] : `${Text.named(Data.labels[target])} and not ${Text.named(Data.labels[contrast])}`,
    ]);
    fill(fields.view, views);
    fields.view.closest("label").hidden = !Data.several;
    fields.queue.closest("label").hidden = !Queue.names.length;
    if (!sure) fields.sort.querySelector("[value=confidence]").remove();
    if (!labeled) fields.sort.querySelector("[value=wrong]").remove();
  };

  /** In a blind report, the model's answers cannot be filtered or sorted by. */
  const guard = () => {
    const on = secret();
    form.classList.toggle("secret", on);
    form.classList.toggle("unseen", on && Data.columns.id.every(id => Marks.hidden(id)));
    fields.sort.querySelectorAll("[data-open]").forEach(option => (option.disabled = on));
    if (on) {
      for (const name of MODEL) values[name] = DEFAULTS[name];
      if (["confidence", "relevance", "wrong"].includes(values.sort)) values.sort = DEFAULTS.sort;
    }
  };

  /** The documents that can be listed: the annotator's own, in the order in which to mark them, or all. */
  const pool = () => (values.queue === "own" && Queue.places()) || [...Data.columns.id.keys()];

  const listed = () => {
    const { columns } = Data;
    const sought = View.needles;
    const from = Number(values.from) / 100;
    const to = Number(values.to) / 100;
    const bounded = values.from !== DEFAULTS.from || values.to !== DEFAULTS.to;
    const marks = {
      open: state => !Marks.marked(state),
      done: state => Marks.marked(state),
      agree: state => state.verdict === "agree",
      disagree: state => state.verdict === "disagree",
      unsure: state => state.verdict === "unsure",
      question: (state, i) => Boolean(Sides.question(state, Data.of(i))),
    }[values.marks];
    const indices = [];
    for (const i of pool()) {
      if (values.predicted !== "" && !Data.chosen(i).includes(Number(values.predicted))) continue;
      if (values.given !== "" && ![columns.label[i]].flat().includes(Number(values.given))) continue;
      if (values.outcome === "right" && (columns.label[i] === null || Data.wrong(i))) continue;
      if (values.outcome === "wrong" && !Data.wrong(i)) continue;
      const sure = columns.confidence[i];
      if (bounded && (sure === null || sure < from || sure > to)) continue;
      if (marks && !marks(Marks.of(columns.id[i]), i)) continue;
      if (sought.length && !Search.matches(i, sought)) continue;
      indices.push(i);
    }
    const key = {
      confidence: i => -(columns.confidence[i] ?? -1),
      unsure: i => columns.confidence[i] ?? 2,
      relevance: i => -Data.strongest(i, View.view),
      length: i => -Data.length(i),
      short: i => Data.length(i),
      wrong: i => (Data.wrong(i) ? -1 - (columns.confidence[i] ?? 0) : 0),
    }[values.sort];
    if (key) {
      const keys = new Map(indices.map(i => [i, key(i)]));
      indices.sort((a, b) => keys.get(a) - keys.get(b));
    }
    return indices;
  };

  const show = () => {
    for (const [name, value] of Object.entries(values)) {
      if (fields[name] instanceof RadioNodeList || fields[name].value !== value) fields[name].value = value;
    }
    byId("shown-threshold").textContent = `${values.threshold}\u00a0%`;
    byId("clear").hidden = MODEL.concat("find", "marks", "queue").every(name => values[name] === DEFAULTS[name]);
  };

  const address = () => {
    const parameters = new URLSearchParams();
    if (wanted !== null) parameters.set("doc", wanted);
    for (const [name, value] of Object.entries(values)) if (value !== DEFAULTS[name]) parameters.set(name, value);
    const written = parameters.toString();
    try {
      history.replaceState(null, "", written ? `#${written}` : location.pathname + location.search);
    } catch {
      // Some browsers do not let a page change the address of a local file: then it stays.
    }
  };

  const look = () => {
    View.by = values.by;
    View.view = values.view === "first" ? "first" : Number(values.view);
    View.scale = values.scale;
    View.threshold = Number(values.threshold) / 100;
    View.needles = Search.needles(values.find);
  };

  const count = () => {
    const own = values.queue === "own" && Queue.places();
    const size = own ? own.length : Data.count;
    const all = `${Numbers.count(size)} documents${own ? " for you" : ""}`;
    byId("count").textContent = List.count === size ? all : `${Numbers.count(List.count)} of ${all}`;
    byId("nothing").hidden = List.count > 0;
  };

  /** List the documents that the values select. */
  const apply = () => {
    Mode.leave();
    guard();
    look();
    Search.forget();
    List.show(listed());
    show();
    count();
  };

  const COLORS = ["by", "view", "scale", "threshold"];
  let waiting = 0;

  const changed = name => {
    const value = fields[name].value;
    if (value === values[name]) return;
    values[name] = value;
    wanted = null;
    if (COLORS.includes(name) && !(name === "view" && values.sort === "relevance")) {
      look();
      show();
      Search.forget();
      List.refresh();
    } else {
      apply();
      if (window.scrollY > byId("work").offsetTop) byId("work").scrollIntoView();
    }
    address();
  };

  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("input", event => {
    const { name } = event.target;
    if (!(name in DEFAULTS)) return;
    clearTimeout(waiting);
    if (name === "find") waiting = setTimeout(() => changed(name), 150);
    else changed(name);
  });

  const clear = () => {
    for (const name of MODEL.concat("find", "marks", "queue")) values[name] = DEFAULTS[name];
    apply();
    address();
  };
  byId("clear").addEventListener("click", () => {
    wanted = null;
    clear();
    fields.find.focus();
  });

  const allowed = (name, value) => {
    const field = fields[name];
    if (field instanceof RadioNodeList) return [...field].some(button => button.value === value);
    if (field.tagName === "SELECT") return [...field.options].some(option => option.value === value);
    return field.type === "search" || (value.trim() !== "" && Number(value) >= 0 && Number(value) <= 100);
  };

  /** Read the address; a value that does not fit is replaced by the default. */
  const read = () => {
    const parameters = new URLSearchParams(location.hash.slice(1));
    for (const name of Object.keys(DEFAULTS)) {
      const value = parameters.get(name);
      values[name] = value !== null && allowed(name, value) ? value : DEFAULTS[name];
    }
    wanted = parameters.get("doc");
    apply();
    if (wanted === null) return;
    const index = Data.places.get(wanted);
    if (index === undefined) {
      Say.aloud(`There is no document \u201c${Text.named(wanted)}\u201d here.`);
      return;
    }
    if (!List.listed(index)) clear();
    if (!List.listed(index)) {
      values.queue = "all";
      apply();
    }
    List.go(index);
  };

  return {
    prepare, read, apply, clear, guard, secret,
    /** Put the current document into the address, so that it can be sent to others. */
    at: id => {
      wanted = id;
      address();
    },
  };
})();
