// Shared by the index and the pages: the annotator's name, the progress, files of marks.
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
    keep.querySelector("legend").textContent = `${Numbers.count(count)} ${count === 1 ? "document is" : "documents are"} marked as ${Text.named(Marks.name)}`;
    keep.querySelector("[value=other]").checked = true;
    alike();
    choices.forEach(([name, button]) => button.setAttribute("aria-pressed", String(name === Marks.name)));
    dialog.showModal();
    field.select();
  };

  // The names of those who were given documents.
  const choices = Queue.names.map(name => {
    const press = () => {
      field.value = name;
      alike();
      choices.forEach(([other, button]) => button.setAttribute("aria-pressed", String(other === name)));
    };
    return [name, make("button", { type: "button", class: "choice", "aria-pressed": "false", on: { click: press } }, make("bdi", {}, name))];
  });
  byId("name-queues").hidden = !choices.length;
  byId("name-queues").append(...choices.map(([, button]) => button));

  /** Point out a name that differs in case or spaces alone from one that has marks here. */
  const alike = () => {
    const written = field.value.trim().normalize("NFC");
    const plain = name => name.toLowerCase().replace(/\s+/g, "");
    const other = [...Queue.names, ...Marks.people()].find(name => name !== written && plain(name) === plain(written));
    const note = byId("name-alike");
    note.hidden = !other;
    note.textContent = other ? `${Text.named(other)} is known here: write the name like that if it is yours.` : "";
  };
  field.addEventListener("input", alike);

  byId("name-form").addEventListener("submit", event => {
    event.preventDefault();
    const name = field.value.trim().normalize("NFC");
    if (!name) {
      field.focus();
      return;
    }
    dialog.close();
    if (name !== Marks.name) {
      if (!keep.hidden && keep.querySelector("[value=same]").checked) Marks.rename(name);
      else Marks.enter(name);
    }
    then?.();
  });
  byId("name-cancel").addEventListener("click", () => dialog.close());
  byId("name").addEventListener("click", () => open(null));

  return { open };
})();

/** Do something that needs the annotator's name; ask for the name if it is not known. */
const named = call => (Marks.name ? call() : Name.open(call));

const Progress = (() => {
  const show = () => {
    const ids = Queue.counted();
    const here = ids.filter(id => Marks.marked(Marks.of(id))).length;
    const all = Marks.count();
    const waiting = Marks.waiting();
    const rest = waiting ? `, ${Numbers.count(waiting)} not downloaded` : "";
    byId("progress").textContent = `${Numbers.count(here)} of ${Numbers.count(ids.length)} marked${rest}`;
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
    const everyone = Data.pages ? Data.ids.flat() : Data.columns.id;
    const secret = Data.blind && everyone.some(id => Marks.hidden(id));
    if (byId("model-summary")) byId("model-summary").hidden = secret;
    if (byId("blind-note")) byId("blind-note").hidden = !secret;
    if (byId("peeked-note")) byId("peeked-note").hidden = !Marks.peeked;
  };
  let waiting = 0;
  /** Tell listeners once for many changes in a row. */
  const soon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(show, 0);
  };
  return { show, soon };
})();

// On a phone, charts are folded, so that documents are near; on a wide screen, they have no summary to open them by.
const narrow = window.matchMedia("(max-width: 40rem)");
const fold = () => document.querySelectorAll(".fold").forEach(part => (part.open = !narrow.matches));
narrow.addEventListener("change", fold);
window.addEventListener("beforeprint", () => document.querySelectorAll(".fold").forEach(part => (part.open = true)));
fold();

/** Connect the buttons that every page has. */
const connect = () => {
  byId("app").hidden = false;
  byId("download").addEventListener("click", Transfer.download);
  const ask = byId("peek-dialog");
  byId("peek")?.addEventListener("click", () => named(() => ask.showModal()));
  ask?.addEventListener("close", () => ask.returnValue === "show" && Marks.peek(true));
  byId("hide")?.addEventListener("click", () => Marks.peek(false));
  const file = byId("import-file");
  byId("import").addEventListener("click", () => file.click());
  file.addEventListener("change", async () => {
    if (file.files.length) Say.aloud(Transfer.take(await file.files[0].text()).join(" "));
    file.value = "";
  });
  window.addEventListener("beforeunload", event => {
    if (Storage.unsaved()) event.preventDefault();
  });
  Marks.listen(Progress.soon);
  const taken = Transfer.start();
  if (taken) Say.aloud(taken);
  const guidelines = byId("guidelines");
  const guide = shown => {
    guidelines.hidden = !shown;
    document.documentElement.classList.toggle("guided", shown);
    byId("guide").setAttribute("aria-expanded", String(shown));
  };
  byId("guide")?.addEventListener("click", () => guide(guidelines.hidden));
  byId("guide-close")?.addEventListener("click", () => {
    guide(false);
    byId("guide").focus();
  });
  Progress.show();
};
