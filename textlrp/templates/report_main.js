// What happens on a press of a button or a key.
const Say = (() => {
  let timer = 0;
  const aloud = text => {
    const toast = byId("toast");
    toast.textContent = text;
    toast.hidden = false;
    clearTimeout(timer);
    timer = setTimeout(() => (toast.hidden = true), 8000);
  };
  const quietly = text => (byId("whisper").textContent = text);
  return { aloud, quietly };
})();

const Name = (() => {
  const dialog = byId("name-dialog");
  const field = byId("name-field");
  const keep = byId("name-keep");
  let then = null;

  const open = next => {
    then = next;
    field.value = Marks.name;
    const count = Marks.count();
    keep.hidden = !Marks.name || !count;
    byId("name-intro").hidden = Boolean(Marks.name);
    keep.querySelector("span").textContent = `Take along the ${Numbers.count(count)} marked so far as ${Marks.name}`;
    keep.querySelector("input").checked = true;
    dialog.showModal();
    field.select();
  };

  dialog.addEventListener("close", () => {
    const name = field.value.trim().normalize("NFC");
    const next = then;
    then = null;
    if (dialog.returnValue !== "save" || !name) return;
    if (name !== Marks.name) {
      if (!keep.hidden && keep.querySelector("input").checked) Marks.rename(name);
      else Marks.enter(name);
    }
    next?.();
  });
  byId("name-form").addEventListener("submit", event => {
    if (field.value.trim()) return;
    event.preventDefault();
    field.focus();
  });
  byId("name-cancel").addEventListener("click", () => dialog.close("cancel"));
  byId("name").addEventListener("click", () => open(null));

  return { open };
})();

const Actions = (() => {
  /** Do something that needs the annotator's name; it is asked for where it is not known. */
  const named = call => (Marks.name ? call() : Name.open(call));

  const change = (index, patch, group = null) => named(() => Marks.change(Data.columns.id[index], patch, group));

  const verdict = (index, value) => {
    if (Marks.hidden(Data.columns.id[index]) && value !== "unsure") return;
    const now = Marks.of(Data.columns.id[index]).verdict;
    change(index, { verdict: now === value ? null : value });
  };

  const label = (index, i) => {
    const now = Marks.of(Data.columns.id[index]).label;
    change(index, { label: now === Data.labels[i] ? null : Data.labels[i] });
  };

  const reveal = index => {
    const id = Data.columns.id[index];
    if (!Marks.hidden(id) || !Marks.marked(Marks.of(id))) return;
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
    if (List.listed(index)) List.go(index, Mode.active === null);
    return null;
  };

  return { named, change, verdict, label, reveal, undo: () => back(Marks.undo, "undo"), redo: () => back(Marks.redo, "redo") };
})();

const Progress = (() => {
  const show = () => {
    const ids = Data.pages ? Data.ids.flat() : Data.columns.id;
    const here = ids.filter(id => Marks.marked(Marks.of(id))).length;
    const all = Marks.count();
    byId("progress").textContent = `${Numbers.count(here)} of ${Numbers.count(ids.length)} marked`;
    const bar = byId("progress-bar");
    bar.max = ids.length;
    bar.value = here;
    byId("undo").disabled = !Marks.canUndo;
    byId("redo").disabled = !Marks.canRedo;
    byId("download").disabled = !all;
    byId("name").textContent = Marks.name || "Your name";
    const trouble = Storage.trouble();
    byId("trouble").hidden = !trouble;
    byId("trouble").textContent = trouble && `${trouble}: your marks are lost when this page is closed. Download them before.`;
    (Data.ids || []).forEach((own, i) => {
      const done = own.filter(id => Marks.marked(Marks.of(id))).length;
      byId(`page-${i + 1}`).textContent = done ? `${Numbers.count(done)} marked` : "";
    });
    const secret = Data.blind && (Data.pages ? !Marks.peeked && ids.some(id => Marks.hidden(id)) : Filter.secret());
    if (byId("model-summary")) byId("model-summary").hidden = secret;
    byId("blind-note").hidden = !secret;
  };
  let waiting = 0;
  /** Once for many changes in a row. */
  const soon = () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(show);
  };
  return { show, soon };
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
    m: () => Selected.take() || on(index => Mode.toggle(index))(),
    s: on(index => Actions.reveal(index)),
    z: Actions.undo,
    Z: Actions.redo,
    y: Actions.redo,
  };

  document.addEventListener("keydown", event => {
    if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const target = event.target;
    if (target.closest("textarea, select, input:not([type=radio]):not([type=range])")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if ((event.ctrlKey || event.metaKey) && !event.altKey && (event.key === "z" || event.key === "Z" || event.key === "y")) {
      event.preventDefault();
      if (event.key === "z" && !event.shiftKey) Actions.undo();
      else Actions.redo();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const reading = Mode.active !== null && target.closest("article")?.dataset.index === String(Mode.active) && !target.closest("button");
    if (reading && Mode.press(event)) return;
    if (event.key === "Escape") Selected.hide();
    if (!single.checked || Data.pages) return;
    if (/^[1-9]$/.test(event.key) && Number(event.key) <= Data.labels.length) {
      on(index => Actions.label(index, Number(event.key) - 1))();
      event.preventDefault();
    } else if (keys[event.key]) {
      keys[event.key]();
      event.preventDefault();
    }
  });
})();

const start = () => {
  byId("app").hidden = false;
  // What is scrolled to must not lie under the bar.
  new ResizeObserver(([bar]) => {
    document.documentElement.style.setProperty("--bar-height", `${Math.ceil(bar.borderBoxSize[0].blockSize) + 4}px`);
  }).observe(byId("bar"));
  byId("undo").addEventListener("click", Actions.undo);
  byId("redo").addEventListener("click", Actions.redo);
  byId("download").addEventListener("click", Transfer.download);
  byId("peek").addEventListener("click", () => Actions.named(Marks.peek));
  const file = byId("import-file");
  byId("import").addEventListener("click", () => file.click());
  file.addEventListener("change", async () => {
    if (file.files.length) Say.aloud(Transfer.take(await file.files[0].text()).join(" "));
    file.value = "";
  });
  window.addEventListener("beforeunload", event => {
    if (Storage.unsaved()) event.preventDefault();
  });
  Marks.listen(id => {
    if (!Data.pages) {
      if (Data.blind) Filter.guard();
      if (id === null) List.refresh();
      else List.card(Data.places.get(id))?.update();
    }
    Progress.soon();
  });
  if (Data.pages) {
    const goTo = () => {
      const wanted = new URLSearchParams(location.hash.slice(1)).get("doc");
      const page = wanted === null ? -1 : Data.ids.findIndex(ids => ids.includes(wanted));
      if (page >= 0) location.replace(`${encodeURIComponent(Data.pages[page])}#${new URLSearchParams({ doc: wanted })}`);
    };
    window.addEventListener("hashchange", goTo);
    goTo();
  } else {
    Filter.prepare();
    Filter.read();
    window.addEventListener("hashchange", Filter.read);
  }
  Progress.show();
};
start();
