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
    keep.querySelector("span").textContent = `Take along the ${Numbers.count(count)} marked so far as ${Text.named(Marks.name)}`;
    keep.querySelector("input").checked = true;
    dialog.showModal();
    field.select();
  };

  byId("name-form").addEventListener("submit", event => {
    event.preventDefault();
    const name = field.value.trim().normalize("NFC");
    if (!name) {
      field.focus();
      return;
    }
    dialog.close();
    if (name !== Marks.name) {
      if (!keep.hidden && keep.querySelector("input").checked) Marks.rename(name);
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
    const secret = Data.blind && ids.some(id => Marks.hidden(id));
    if (byId("model-summary")) byId("model-summary").hidden = secret;
    if (byId("blind-note")) byId("blind-note").hidden = !secret;
  };
  let waiting = 0;
  /** Tell listeners once for many changes in a row. */
  const soon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(show, 0);
  };
  return { show, soon };
})();

/** Connect the buttons that every page has. */
const connect = () => {
  byId("app").hidden = false;
  byId("download").addEventListener("click", Transfer.download);
  byId("peek")?.addEventListener("click", () => named(Marks.peek));
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
  Progress.show();
};
