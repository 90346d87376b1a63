// Buttons and keys, and the start of the page.
const Actions = (() => {
  const change = (index, patch, group = null) =>
    named(() => {
      const doc = Data.of(index);
      const rationales = Sides.settled({ ...Marks.of(doc.id), ...patch }, doc);
      Marks.change(doc.id, { ...patch, rationales }, group);
    });

  const verdict = (index, value) => {
    if (Marks.hidden(Data.columns.id[index]) && value !== "unsure") {
      Say.aloud("The model\u2019s answer is hidden: choose the right label or mark words, then look at it (s).");
      return;
    }
    const now = Marks.of(Data.columns.id[index]).verdict;
    change(index, { verdict: now === value ? null : value });
  };

  const label = (index, i) => {
    const now = Marks.of(Data.columns.id[index]).labels;
    const label = Data.labels[i];
    if (!Data.multi) return change(index, { labels: now !== null && now[0] === label ? null : [label] });
    const labels = (now || []).includes(label) ? now.filter(other => other !== label) : [...(now || []), label];
    return change(index, { labels: labels.length ? Data.labels.filter(other => labels.includes(other)) : null });
  };

  const reveal = index => {
    const id = Data.columns.id[index];
    if (!Marks.hidden(id)) return;
    if (!Marks.marked(Marks.of(id))) {
      Say.aloud("Mark this document first: then the model\u2019s view is shown.");
      return;
    }
    Mode.leave();
    Marks.reveal(id);
    List.card(index)?.element.focus({ preventScroll: true });
    Say.quietly("The model\u2019s view is shown.");
  };

  const back = (call, what) => {
    const { id, conflict } = call();
    if (id === null) return Say.aloud(`There is nothing to ${what}.`);
    if (conflict) return Say.aloud(`\u201c${id}\u201d was changed in another tab since: its marks are left as they are.`);
    const index = Data.places.get(id);
    if (List.listed(index)) List.go(index, Mode.active === null, "nearest");
    return null;
  };

  return { change, verdict, label, reveal, undo: () => back(Marks.undo, "undo"), redo: () => back(Marks.redo, "redo") };
})();

const Keys = (() => {
  const help = byId("help");
  const OFF = JSON.stringify(["textlrp", "keys"]);
  const single = byId("single-keys");
  single.checked = Storage.read(OFF) !== "off";
  single.addEventListener("change", () => Storage.write(OFF, single.checked ? null : "off"));
  byId("help-button").addEventListener("click", () => help.showModal());
  byId("help-close").addEventListener("click", () => help.close());

  const on = call => () => {
    if (List.current === null || !List.card(List.current)) List.move(1);
    const index = List.current;
    if (index !== null && List.card(index)) call(index);
  };
  const open = index => !Marks.marked(Marks.of(Data.columns.id[index]));
  const step = by => () => {
    Mode.leave();
    if (List.move(by)) Filter.at(Data.columns.id[List.current]);
  };
  const keys = {
    j: step(1),
    k: step(-1),
    n: () => List.move(1, open) || Say.aloud("No open document follows."),
    "/": () => byId("find").focus(),
    "?": () => help.showModal(),
    a: on(index => Actions.verdict(index, "agree")),
    d: on(index => Actions.verdict(index, "disagree")),
    u: on(index => Actions.verdict(index, "unsure")),
    c: on(index => List.card(index).write()),
    g: () => byId("guide")?.click(),
    m: () => Selected.take() || on(index => Mode.toggle(index))(),
    s: on(index => Actions.reveal(index)),
    y: Actions.redo,
  };

  document.addEventListener("keydown", event => {
    if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const target = event.target;
    if (target.closest("textarea, select, input:not([type=radio]):not([type=range])")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    const back = event.key.toLowerCase() === "z" ? (event.shiftKey ? Actions.redo : Actions.undo) : null;
    if ((event.ctrlKey || event.metaKey) && !event.altKey && (back || event.key === "y")) {
      event.preventDefault();
      (back || Actions.redo)();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const reading = Mode.active !== null && target.closest("article")?.dataset.index === String(Mode.active) && !target.closest("button");
    if (reading && Mode.press(event)) return;
    if (event.key === "Escape") Selected.hide();
    if (!single.checked) return;
    if (/^[1-9]$/.test(event.key)) {
      if (Number(event.key) <= Data.labels.length) on(index => Actions.label(index, Number(event.key) - 1))();
      else Say.aloud(`There are ${Data.labels.length} labels.`);
      event.preventDefault();
    } else if (back || keys[event.key]) {
      (back || keys[event.key])();
      event.preventDefault();
    }
  });
})();

// A document that is scrolled to must not lie under the bar.
const sizes = new ResizeObserver(() => {
  const height = List.bar().getBoundingClientRect().height;
  document.documentElement.style.setProperty("--bar-height", `${Math.ceil(height) + 4}px`);
});
sizes.observe(byId("bar"));
sizes.observe(byId("bar").firstElementChild);

byId("undo").addEventListener("click", Actions.undo);
byId("redo").addEventListener("click", Actions.redo);
let reader = Marks.name;
Marks.listen(id => {
  if (Data.blind) Filter.guard();
  if (Queue.names.length && Marks.name !== reader) Filter.apply(); // another annotator has other documents
  else if (id === null) List.refresh();
  else List.card(Data.places.get(id))?.update();
  reader = Marks.name;
});
byId("given-note").hidden = !Data.columns.rationales.some(spans => spans.length);
byId("app").hidden = false; // before the list is filled: it estimates heights from the width
Filter.prepare();
Filter.read();
window.addEventListener("hashchange", Filter.read);
connect();
