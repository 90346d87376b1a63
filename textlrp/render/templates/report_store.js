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
    for (const [key, kept] of unsaved) {
      const done = attempt(storage => {
        if (kept === null) storage.removeItem(key);
        else storage.setItem(key, kept);
        return true;
      }, false);
      if (done) unsaved.delete(key);
    }
  };

  const keys = () => {
    const saved = attempt(storage => {
      const names = [];
      for (let i = 0; i < storage.length; i++) names.push(storage.key(i));
      return names;
    }, []);
    return [...new Set([...saved, ...unsaved.keys()])];
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
    verdict: null, labels: null, comment: "", rationales: [], reasons: [], blind: false, revealed: false, changed: null,
  });
  const NAME = JSON.stringify(["textlrp", "annotator"]);
  const listeners = [];
  const states = new Map();
  let name = "";
  let peeked = false;
  let done = [];
  let undone = [];

  const key = (annotator, id) => JSON.stringify(["textlrp", Data.id, "marks", annotator, id]);
  const peekKey = annotator => JSON.stringify(["textlrp", Data.id, "peeked", annotator]);
  const parsed = (text, otherwise) => {
    try {
      return text === null ? otherwise : JSON.parse(text) ?? otherwise;
    } catch {
      return otherwise;
    }
  };
  const state = text => {
    const value = parsed(text, null);
    return value && typeof value === "object" && Array.isArray(value.rationales) ? { ...BLANK, ...value } : null;
  };
  const tell = id => listeners.forEach(call => call(id));

  /** All marks kept under a name, by document. */
  const kept = annotator => {
    const marks = new Map();
    const start = JSON.stringify(["textlrp", Data.id, "marks", annotator]).slice(0, -1) + ",";
    for (const stored of Storage.keys()) {
      if (!stored.startsWith(start)) continue;
      const value = state(Storage.read(stored));
      if (value) marks.set(JSON.parse(stored)[4], value);
    }
    return marks;
  };

  const load = annotator => {
    name = annotator;
    states.clear();
    done = [];
    undone = [];
    peeked = false;
    if (!annotator) return;
    for (const [id, value] of kept(annotator)) states.set(id, value);
    peeked = Storage.read(peekKey(annotator)) === "1";
  };

  const downloadKey = annotator => JSON.stringify(["textlrp", Data.id, "downloaded", annotator]);

  /** Remember what is downloaded, so that later changes can be counted. */
  const downloaded = () => {
    const saved = [...states].filter(([, value]) => marked(value)).map(([id, value]) => [id, value.changed]);
    Storage.write(downloadKey(name), JSON.stringify(saved));
    tell(null);
  };

  /** How many documents have been marked or changed since the last download. */
  const waiting = () => {
    const saved = new Map(parsed(Storage.read(downloadKey(name)), []));
    const now = [...states].filter(([id, value]) => (marked(value) || saved.has(id)) && saved.get(id) !== value.changed);
    return now.length;
  };

  /** All who have marks of this report in this browser. */
  const people = () => {
    const start = JSON.stringify(["textlrp", Data.id, "marks"]).slice(0, -1) + ",";
    const found = Storage.keys().filter(stored => stored.startsWith(start)).map(stored => JSON.parse(stored)[3]);
    return [...new Set(found)];
  };

  const of = id => states.get(id) || BLANK;
  const fresh = id => (name && state(Storage.read(key(name, id)))) || of(id);
  const put = (id, value) => {
    states.set(id, value);
    Storage.write(key(name, id), JSON.stringify(value));
    tell(id);
  };
  const content = value => JSON.stringify([value.verdict, value.labels, value.comment, value.rationales, value.reasons]);
  const places = value => JSON.stringify(value.rationales.map(({ start, end, source }) => [start, end, source]));
  const marked = value =>
    Boolean(value.verdict || value.labels !== null || value.comment.trim() || value.rationales.length || value.reasons.length);

  /** Whether the model's view of a document is still hidden. */
  const hidden = id => Boolean(Data.blind) && !peeked && !of(id).revealed;

  /** Change the marks of a document; changes of one `group` in a row are undone together. */
  const change = (id, patch, group = null) => {
    const before = fresh(id);
    const after = { ...before, ...patch, changed: new Date().toISOString() };
    if (content(before) === content(after)) return;
    if ("labels" in patch || places(before) !== places(after) || !marked(before)) after.blind = hidden(id);
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

  /** Show the model's view of all documents, or hide it again. */
  const peek = shown => {
    peeked = shown;
    Storage.write(peekKey(name), shown ? "1" : null);
    tell(null);
  };

  const remember = (annotator, from = null) => Storage.write(NAME, JSON.stringify({ name: annotator, from }));

  const enter = annotator => {
    load(annotator);
    remember(annotator);
    tell(null);
  };

  /** Move all marks to another name; if both have marked a document, the later change stays. */
  const rename = annotator => {
    const old = name;
    const mine = kept(old);
    const theirs = kept(annotator);
    for (const [id, value] of mine) {
      const other = theirs.get(id);
      if (!other || (other.changed || "") < (value.changed || "")) Storage.write(key(annotator, id), JSON.stringify(value));
      Storage.write(key(old, id), null);
    }
    if (peeked) Storage.write(peekKey(annotator), "1");
    load(annotator);
    remember(annotator, old);
    tell(null);
  };

  /** Keep a mark from a file under its annotator's name, unless a later mark is there. */
  const receive = (annotator, id, value) => {
    const there = state(Storage.read(key(annotator, id)));
    if (there && (there.changed || "").slice(0, 19) >= (value.changed || "").slice(0, 19)) return false;
    Storage.write(key(annotator, id), JSON.stringify({ ...BLANK, ...value, revealed: true }));
    return true;
  };

  window.addEventListener("storage", event => {
    if (event.key === NAME) {
      const stored = parsed(event.newValue, null);
      if (stored && stored.from !== null && stored.from === name) {
        load(stored.name);
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

  const stored = parsed(Storage.read(NAME), null);
  load(stored && typeof stored.name === "string" ? stored.name : "");

  return {
    of, marked, hidden, change, reveal, peek, enter, rename, kept, receive, downloaded, waiting, people,
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
