// Marks are saved at every change, under the report's id, the annotator's name and the document's id: one key for each
// document, so that two tabs do not overwrite each other, and the last change of a document wins.
const Storage = (() => {
  const unsaved = new Map(); // marks that could not be saved last as long as the page
  let reason = "";

  const attempt = (call, otherwise) => {
    try {
      return call(window.localStorage);
    } catch (error) {
      const full = error.name === "QuotaExceededError" || error.name === "NS_ERROR_DOM_QUOTA_REACHED";
      reason = full ? "The browser\u2019s storage is full" : "This browser keeps no storage for this page";
      return otherwise;
    }
  };

  const read = key => (unsaved.has(key) ? unsaved.get(key) : attempt(storage => storage.getItem(key), null));

  const write = (key, value) => {
    unsaved.set(key, value);
    for (const [each, kept] of unsaved) {
      const done = attempt(storage => {
        if (kept === null) storage.removeItem(each);
        else storage.setItem(each, kept);
        return true;
      }, false);
      if (done) unsaved.delete(each);
    }
  };

  const keys = () => {
    const found = attempt(storage => {
      const names = [];
      for (let i = 0; i < storage.length; i++) names.push(storage.key(i));
      return names;
    }, []);
    return [...new Set([...found, ...unsaved.keys()])];
  };

  const probe = JSON.stringify(["textlrp", "probe"]);
  const available = attempt(storage => {
    storage.setItem(probe, "1");
    storage.removeItem(probe);
    return true;
  }, false);

  /** Say why changes are not kept, or nothing if they are. */
  const trouble = () => (unsaved.size || !available ? reason : "");

  return { read, write, keys, trouble, unsaved: () => unsaved.size };
})();

const Marks = (() => {
  const BLANK = Object.freeze({
    verdict: null, label: null, comment: "", rationales: [], blind: false, revealed: false, changed: null,
  });
  const NAME = JSON.stringify(["textlrp", "annotator"]);
  const listeners = [];
  const states = new Map();
  let name = "";
  let peeked = false;
  let done = [];
  let undone = [];

  const key = (who, id) => JSON.stringify(["textlrp", Data.id, "marks", who, id]);
  const peekKey = who => JSON.stringify(["textlrp", Data.id, "peeked", who]);
  const parsed = (text, otherwise) => {
    try {
      return text === null ? otherwise : JSON.parse(text) ?? otherwise;
    } catch {
      return otherwise;
    }
  };
  const state = text => {
    const found = parsed(text, null);
    return found && typeof found === "object" && Array.isArray(found.rationales) ? { ...BLANK, ...found } : null;
  };
  const tell = id => listeners.forEach(call => call(id));

  /** All marks kept under a name, by document. */
  const kept = who => {
    const found = new Map();
    const start = JSON.stringify(["textlrp", Data.id, "marks", who]).slice(0, -1) + ",";
    for (const each of Storage.keys()) {
      if (!each.startsWith(start)) continue;
      const value = state(Storage.read(each));
      if (value) found.set(JSON.parse(each)[4], value);
    }
    return found;
  };

  const load = who => {
    name = who;
    states.clear();
    done = [];
    undone = [];
    peeked = false;
    if (!who) return;
    for (const [id, value] of kept(who)) states.set(id, value);
    peeked = Storage.read(peekKey(who)) === "1";
  };

  const of = id => states.get(id) || BLANK;
  const fresh = id => (name && state(Storage.read(key(name, id)))) || of(id);
  const put = (id, value) => {
    states.set(id, value);
    Storage.write(key(name, id), JSON.stringify(value));
    tell(id);
  };
  const content = value => JSON.stringify([value.verdict, value.label, value.comment, value.rationales]);
  const marked = value =>
    Boolean(value.verdict || value.label !== null || value.comment.trim() || value.rationales.length);

  /** Whether the model's view of a document is still hidden. */
  const hidden = id => Boolean(Data.blind) && !peeked && !of(id).revealed;

  /** Change the marks of a document; changes of one `group` in a row are undone together. */
  const change = (id, patch, group = null) => {
    const before = fresh(id);
    const after = { ...before, ...patch, changed: new Date().toISOString() };
    if (content(before) === content(after)) return;
    if ("label" in patch || "rationales" in patch || !marked(before)) after.blind = hidden(id);
    const last = done.at(-1);
    if (group && last && last.group === group && last.id === id && content(last.after) === content(before)) {
      last.after = after;
    } else done.push({ id, before, after, group });
    undone = [];
    put(id, after);
  };

  const step = (from, to, there, back) => {
    const entry = from.pop();
    if (!entry) return { id: null, conflict: false };
    const now = fresh(entry.id);
    if (content(now) !== content(entry[back])) return { id: entry.id, conflict: true };
    const restored = { ...entry[there], revealed: now.revealed, changed: new Date().toISOString() };
    to.push({ ...entry, group: null, [there]: restored });
    put(entry.id, restored);
    return { id: entry.id, conflict: false };
  };

  const reveal = id => put(id, { ...fresh(id), revealed: true });

  const peek = () => {
    peeked = true;
    Storage.write(peekKey(name), "1");
    tell(null);
  };

  const remember = (who, from = null) => Storage.write(NAME, JSON.stringify({ name: who, from }));

  const enter = who => {
    load(who);
    remember(who);
    tell(null);
  };

  /** Move all marks to another name; if both have marked a document, the later change stays. */
  const rename = who => {
    const old = name;
    const mine = kept(old);
    const theirs = kept(who);
    for (const [id, value] of mine) {
      const other = theirs.get(id);
      if (!other || (other.changed || "") < (value.changed || "")) Storage.write(key(who, id), JSON.stringify(value));
      Storage.write(key(old, id), null);
    }
    if (peeked) Storage.write(peekKey(who), "1");
    load(who);
    remember(who, old);
    tell(null);
  };

  /** Keep a mark from a file under its annotator's name, unless a later mark is there. */
  const receive = (who, id, value) => {
    const there = state(Storage.read(key(who, id)));
    if (there && (there.changed || "").slice(0, 19) >= (value.changed || "").slice(0, 19)) return false;
    Storage.write(key(who, id), JSON.stringify({ ...BLANK, ...value, revealed: true }));
    return true;
  };

  window.addEventListener("storage", event => {
    if (event.key === NAME) {
      const found = parsed(event.newValue, null);
      if (found && found.from !== null && found.from === name) {
        load(found.name);
        tell(null);
      }
      return;
    }
    const parts = parsed(event.key, null);
    if (!Array.isArray(parts) || parts[0] !== "textlrp" || parts[1] !== Data.id || parts[3] !== name) return;
    if (parts[2] === "peeked") {
      peeked = event.newValue === "1";
      tell(null);
    }
    const value = parts[2] === "marks" ? state(event.newValue) : null;
    if (value) {
      states.set(parts[4], value);
      tell(parts[4]);
    }
  });

  const found = parsed(Storage.read(NAME), null);
  load(found && typeof found.name === "string" ? found.name : "");

  return {
    of, marked, hidden, change, reveal, peek, enter, rename, kept, receive,
    undo: () => step(done, undone, "before", "after"),
    redo: () => step(undone, done, "after", "before"),
    listen: call => listeners.push(call),
    reload: () => {
      load(name);
      tell(null);
    },
    get name() {
      return name;
    },
    get peeked() {
      return peeked;
    },
    get canUndo() {
      return done.length > 0;
    },
    get canRedo() {
      return undone.length > 0;
    },
    all: () => [...states].filter(([, value]) => marked(value)),
    count: () => [...states.values()].filter(marked).length,
  };
})();
