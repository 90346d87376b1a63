// The page of an adjudicator: what is decided of each document, kept at once, undone, and downloaded.
const Say = (() => {
  let timer = 0;
  return text => {
    const toast = byId("toast");
    toast.textContent = text;
    toast.hidden = false;
    clearTimeout(timer);
    timer = setTimeout(() => (toast.hidden = true), 8000);
  };
})();

const Name = (() => {
  const dialog = byId("name-dialog");
  const field = byId("name-field");
  let then = null;
  const open = next => {
    then = next;
    field.value = Marks.name;
    dialog.showModal();
    field.select();
  };
  byId("name-form").addEventListener("submit", event => {
    event.preventDefault();
    const name = field.value.trim().normalize("NFC");
    if (!name) return field.focus();
    dialog.close();
    if (name !== Marks.name) Marks.enter(name);
    return then?.();
  });
  byId("name-cancel").addEventListener("click", () => dialog.close());
  byId("name").addEventListener("click", () => open(null));
  return { open };
})();

const Decisions = (() => {
  const of = index => Marks.of(Data.cases[index].id);
  const settled = (marks, labels) =>
    labels?.length === 1 ? marks.map(mark => (mark.label === null ? { ...mark, label: labels[0] } : mark)) : marks;

  const opened = new Set();
  /** Remember that the model's view of a document was opened: what is decided after that is not blind. */
  const seen = index => {
    opened.add(index);
    if (Marks.name && Marks.hidden(Data.cases[index].id)) Marks.reveal(Data.cases[index].id);
  };

  /** Change a decision; ask for the adjudicator's name if it is not known. */
  const change = (index, patch, group = null) => {
    if (!Marks.name) return Name.open(() => change(index, patch, group));
    if (opened.has(index)) seen(index);
    const { labels, rationales } = { ...of(index), ...patch };
    // Who decides on words alone keeps the label on which the annotators agree.
    const kept = "rationales" in patch ? (labels ?? Data.cases[index].agreed) : labels;
    return Marks.change(Data.cases[index].id, { ...patch, labels: kept, rationales: settled(rationales, kept) }, group);
  };

  const label = (index, name) => {
    const chosen = of(index).labels;
    if (!Data.multi) return change(index, { labels: chosen?.length === 1 && chosen[0] === name ? null : [name] });
    const labels = Data.labels.filter(other => (other === name) !== Boolean(chosen?.includes(other)));
    return change(index, { labels: labels.length ? labels : null });
  };

  const words = (index, marks) => change(index, { rationales: marks });

  const step = (what, call) => () => {
    const { id, conflict } = call();
    if (id === null) return Say(`There is nothing to ${what}.`);
    if (conflict) return Say(`\u201c${id}\u201d was changed in another tab since: its decision is left as it is.`);
    return Cards.go(Data.cases.findIndex(each => each.id === id));
  };

  const decided = index => of(index).labels !== null;

  const lines = () =>
    Data.cases.flatMap(({ id }) => {
      const value = Marks.of(id);
      if (!Marks.marked(value)) return [];
      const { labels, comment, rationales, blind, changed } = value;
      return JSON.stringify({
        textlrp: "annotation", format: 2, report: Data.report, annotator: Marks.name, adjudicated: true, document: id,
        verdict: null, labels, comment, rationales, blind, changed: `${changed.slice(0, 19)}Z`,
      });
    });

  const download = () => {
    const blob = new Blob([lines().map(line => `${line}\n`).join("")], { type: "application/jsonl" });
    const address = URL.createObjectURL(blob);
    const name = Marks.name.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 40) || "adjudicator";
    const link = make("a", { href: address, download: `decisions-${Data.report.slice(0, 8)}-${name}.jsonl` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
    Marks.downloaded();
  };

  return { of, change, label, words, seen, decided, lines, download, undo: step("undo", Marks.undo), redo: step("redo", Marks.redo) };
})();

const Cards = (() => {
  let current = null;
  const elements = Data.cases.map((_, index) => byId(`document-${index + 1}`));
  const button = (text, call, options = {}) => make("button", { type: "button", ...options, on: { click: call } }, text);

  const fill = (element, index) => {
    const { people, merged, common } = Data.cases[index];
    const take = (name, marks, options) => button(name, () => Decisions.words(index, marks), options);
    element.querySelectorAll(".person").forEach((section, number) => {
      const { name, labels, rationales } = people[number];
      const row = section.querySelector(".take");
      const of = what => ({ "aria-label": `Take the ${what} of ${name}` });
      if (labels) row.append(button("Take the label", () => Decisions.change(index, { labels }), of("label")));
      if (rationales.length) row.append(take("Take the words", rationales, of("words")));
      row.hidden = !row.childElementCount;
    });
    const decision = element.querySelector(".decision");
    decision.querySelector(".choices").append(
      ...Data.labels.map(label => button(Text.visible(label), () => Decisions.label(index, label), { "data-label": label, "aria-pressed": "false" })),
    );
    const row = decision.querySelector(".take");
    if (merged.length) row.append(take("Merge all words", merged));
    if (common.length) row.append(take("Take the common words", common));
    row.append(take("No words", []));
    const comment = decision.querySelector("textarea");
    comment.addEventListener("input", () => Decisions.change(index, { comment: comment.value }, "comment"));
    element.querySelector("details").addEventListener("toggle", () => Decisions.seen(index));
    for (const event of ["focusin", "pointerdown"]) element.addEventListener(event, () => (current = index));
    decision.hidden = false;
  };

  const update = index => {
    const element = elements[index];
    const state = Decisions.of(index);
    const done = Decisions.decided(index);
    element.classList.toggle("decided", done);
    element.querySelector(".state").hidden = !done;
    for (const choice of element.querySelectorAll(".choices button")) {
      choice.setAttribute("aria-pressed", String((state.labels || []).includes(choice.dataset.label)));
    }
    element.querySelectorAll(".own").forEach((block, source) => Words.paint(block, index, source, state));
    element.querySelector(".marks").replaceChildren(
      ...state.rationales.map(mark =>
        make(
          "li",
          {},
          make("bdi", {}, Text.visible(mark.text)),
          make("span", { class: "for" }, Words.said(mark)),
          button("\u00d7", () => Decisions.words(index, state.rationales.filter(other => other !== mark)), {
            "aria-label": `Remove \u201c${mark.text}\u201d`,
          }),
        ),
      ),
    );
    const comment = element.querySelector("textarea");
    if (comment.value !== state.comment) comment.value = state.comment;
  };

  const go = index => {
    current = index;
    elements[index].focus({ preventScroll: true });
    elements[index].scrollIntoView({ block: "start" });
  };

  /** Go to the next document, or the one before, of those that fit. */
  const move = (by, fits = () => true) => {
    let index = current === null ? (by > 0 ? 0 : Data.cases.length - 1) : current + by;
    while (index >= 0 && index < Data.cases.length && !fits(index)) index += by;
    if (index < 0 || index >= Data.cases.length) return false;
    go(index);
    return true;
  };

  elements.forEach(fill);
  return {
    update, go, move, elements,
    all: () => elements.forEach((_, index) => update(index)),
    get current() {
      return current;
    },
  };
})();

// Marking words: select them, and choose the label that they speak for.
const Selected = (() => {
  const MOST = 6; // labels that all have a button
  const float = byId("float");
  let chosen = null;
  for (const event of ["pointerdown", "mousedown"]) float.addEventListener(event, each => each.preventDefault());

  const blockOf = node => (node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement)?.closest(".own") ?? null;
  const unit = (block, node, offset) => {
    const range = document.createRange();
    range.selectNodeContents(block);
    range.setEnd(node, offset);
    return range.toString().length;
  };

  /** The selected words, if the selection begins in the text of a decision. */
  const look = () => {
    const selection = window.getSelection();
    if (!selection.rangeCount || selection.isCollapsed) return null;
    const range = selection.getRangeAt(0);
    const block = blockOf(range.startContainer);
    if (!block) return null;
    const end = block.contains(range.endContainer) ? unit(block, range.endContainer, range.endOffset) : block.textContent.length;
    const index = Number(block.closest("article").dataset.case);
    const source = Number(block.dataset.source);
    const units = [unit(block, range.startContainer, range.startOffset), end];
    const boxes = range.getClientRects();
    return Words.snap(index, source, units) && { index, source, range: units, box: boxes[boxes.length - 1] || range.getBoundingClientRect() };
  };

  const hide = () => {
    float.hidden = true;
    chosen = null;
  };
  const finish = call => {
    const { index, source, range } = chosen;
    hide();
    window.getSelection().removeAllRanges();
    Decisions.words(index, call(index, source, Decisions.of(index).rationales, range));
  };
  const mark = label => finish((...place) => Words.add(...place, label));

  /** The labels to offer, the right one first. */
  const offered = index => {
    const { agreed, people } = Data.cases[index];
    const likely = [...(Decisions.of(index).labels || agreed || []), ...people.flatMap(person => person.labels || [])];
    return [...new Set([...likely, ...(Data.labels.length <= MOST ? Data.labels : [])])];
  };

  const show = selected => {
    chosen = selected;
    const { index, source, box } = selected;
    const whole = Words.snap(index, source, selected.range);
    const own = Words.here(index, source, Decisions.of(index).rationales);
    const button = (text, call) => make("button", { type: "button", on: { click: call } }, text);
    float.replaceChildren(...offered(index).map(label => button(`Mark for ${Text.named(label)}`, () => mark(label))));
    if (own.some(({ start, end }) => start < whole[1] && whole[0] < end)) float.append(button("Remove mark", () => finish(Words.drop)));
    float.hidden = false;
    const left = Math.max(8, Math.min(box.left + (box.width - float.offsetWidth) / 2, window.innerWidth - float.offsetWidth - 8));
    const lowest = window.innerHeight - float.offsetHeight - 8;
    const top = box.bottom + 8 > lowest ? box.top - float.offsetHeight - 8 : box.bottom + 8;
    float.style.left = `${left}px`;
    float.style.top = `${Math.max(8, Math.min(top, lowest))}px`;
  };

  let waiting = 0;
  document.addEventListener("selectionchange", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      const selected = look();
      if (selected) show(selected);
      else hide();
    }, 120);
  });
  window.addEventListener("scroll", () => float.hidden || hide(), { passive: true });

  /** Mark the selected words for the likeliest label; return false if nothing is selected. */
  const take = () => {
    const selected = look();
    if (!selected) return false;
    const [label] = offered(selected.index);
    if (label === undefined) return false;
    chosen = selected;
    mark(label);
    return true;
  };

  return { take, hide };
})();

const showProgress = () => {
  const done = Data.cases.filter((_, index) => Decisions.decided(index)).length;
  const waiting = Marks.waiting();
  byId("progress").textContent =
    `${Numbers.count(done)} of ${Numbers.count(Data.cases.length)} decided` + (waiting ? `, ${Numbers.count(waiting)} not downloaded` : "");
  byId("progress-bar").max = Data.cases.length;
  byId("progress-bar").value = done;
  byId("undo").disabled = !Marks.canUndo;
  byId("redo").disabled = !Marks.canRedo;
  byId("download").disabled = !Decisions.lines().length;
  byId("name").textContent = Marks.name || "Your name";
  const trouble = Storage.trouble();
  byId("trouble").hidden = !trouble;
  byId("trouble").textContent = trouble && `${trouble}: your decisions are lost when this page is closed. Download them before.`;
};

// Keys.
(() => {
  const OFF = JSON.stringify(["textlrp", "keys"]);
  const single = byId("single-keys");
  single.checked = Storage.read(OFF) !== "off";
  single.addEventListener("change", () => Storage.write(OFF, single.checked ? null : "off"));
  const keys = {
    j: () => Cards.move(1),
    k: () => Cards.move(-1),
    n: () => Cards.move(1, index => !Decisions.decided(index)) || Say("No open document follows."),
    m: () => Selected.take() || Say("Select words in the text of the decision first."),
    c: () => Cards.elements[Cards.current ?? 0].querySelector("textarea").focus(),
    y: Decisions.redo,
  };
  document.addEventListener("keydown", event => {
    if (document.querySelector("dialog[open]")) return;
    if (event.target.closest("textarea, input:not([type=checkbox])")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const back = event.key.toLowerCase() === "z" ? (event.shiftKey ? Decisions.redo : Decisions.undo) : null;
    const held = (event.ctrlKey || event.metaKey) && !event.altKey;
    if (held && (back || event.key === "y")) (back || Decisions.redo)();
    else if (event.ctrlKey || event.metaKey || event.altKey) return;
    else if (event.key === "Escape") return Selected.hide();
    else if (!single.checked) return;
    else if (/^[1-9]$/.test(event.key)) {
      const label = Data.labels[event.key - 1];
      if (label !== undefined && Cards.current !== null) Decisions.label(Cards.current, label);
    } else if (back || keys[event.key]) (back || keys[event.key])();
    else return;
    event.preventDefault();
  });
})();

byId("undo").addEventListener("click", Decisions.undo);
byId("redo").addEventListener("click", Decisions.redo);
byId("download").addEventListener("click", Decisions.download);
window.addEventListener("beforeunload", event => {
  if (Storage.unsaved()) event.preventDefault();
});
Marks.listen(id => {
  if (id === null) Cards.all();
  else {
    const index = Data.cases.findIndex(each => each.id === id);
    if (index >= 0) Cards.update(index);
  }
  showProgress();
});
byId("app").hidden = false;
byId("bar").hidden = false;
Cards.all();
showProgress();
