// The list of documents. Ten thousand are laid out in chunks, and only those near the view have contents.
const List = (() => {
  const SIZE = 16;
  const PRINTED = 1000;
  const WHOLE = 160; // up to so many documents always have contents, so that the browser's own search finds them
  const root = byId("documents");
  const note = byId("print-note");
  let order = [];
  let chunks = [];
  let observer = null;
  let current = null;
  const cards = new Map(); // by document index, of the documents that have contents

  /** Estimate a card's height, so that the scroll bar is right before all cards have been seen. */
  const guess = (index, width) => Math.ceil(Data.length(index) / Math.max(20, width / 8.4)) * 27 + 158;

  const members = chunk => order.slice(chunk.number * SIZE, (chunk.number + 1) * SIZE);

  const estimate = chunk => {
    const width = root.clientWidth - 48;
    chunk.height = members(chunk).reduce((sum, index) => sum + guess(index, width), 0);
    chunk.element.style.height = `${chunk.height}px`;
  };

  const fill = chunk => {
    if (chunk.filled) return;
    chunk.filled = true;
    const before = chunk.element.getBoundingClientRect();
    members(chunk).forEach((index, i) => {
      const card = Card.create(index, chunk.number * SIZE + i + 1, order.length);
      cards.set(index, card);
      chunk.element.append(card.element);
      if (index === current) card.select(true);
    });
    chunk.element.style.height = "";
    // Other browsers keep the reader's place when something above the view grows.
    if (before.bottom < 0 && !CSS.supports("overflow-anchor", "auto")) {
      window.scrollBy(0, chunk.element.getBoundingClientRect().height - before.height);
    }
  };

  const clear = chunk => {
    if (!chunk.filled || printing || order.length <= WHOLE) return;
    const held = document.activeElement !== document.body && chunk.element.contains(document.activeElement);
    if (held || members(chunk).includes(Mode.active)) return;
    chunk.height = chunk.element.getBoundingClientRect().height;
    chunk.element.style.height = `${chunk.height}px`;
    chunk.element.replaceChildren();
    members(chunk).forEach(index => cards.delete(index));
    chunk.filled = false;
  };

  let printing = false;

  const show = indexes => {
    order = indexes;
    observer?.disconnect();
    cards.clear();
    chunks = [];
    const observed = entries => {
      for (const entry of entries) {
        const chunk = chunks[Number(entry.target.dataset.chunk)];
        if (!chunk || chunk.element !== entry.target) continue;
        if (entry.isIntersecting) fill(chunk);
        else clear(chunk);
      }
    };
    observer = new IntersectionObserver(observed, { rootMargin: "1500px 0px" });
    const parts = document.createDocumentFragment();
    for (let number = 0; number * SIZE < order.length; number++) {
      const element = make("div", { class: "chunk", data: { chunk: number } });
      const chunk = { number, element, filled: false, height: 0 };
      chunks.push(chunk);
      estimate(chunk);
      parts.append(element);
    }
    root.replaceChildren(parts);
    if (order.length <= WHOLE) chunks.forEach(fill);
    else fill(chunks[0]);
    chunks.forEach(chunk => observer.observe(chunk.element));
  };

  const select = index => {
    if (current !== null) cards.get(current)?.select(false);
    current = index;
    if (current !== null) cards.get(current)?.select(true);
  };

  /** Bring a document into view and make it the current one; return false if it is not listed. */
  const go = (index, focus = true, block = "start") => {
    const place = order.indexOf(index);
    if (place < 0) return false;
    const number = Math.floor(place / SIZE);
    for (const near of [number - 1, number, number + 1]) if (chunks[near]) fill(chunks[near]);
    select(index);
    const card = cards.get(index);
    card.element.scrollIntoView({ block });
    if (focus) card.element.focus({ preventScroll: true });
    return true;
  };

  /** The part of the bar that covers the top of the view: on a narrow screen, only its first row. */
  const bar = () => (getComputedStyle(byId("bar")).display === "contents" ? byId("bar").firstElementChild : byId("bar"));

  /** The first listed document below the bar, for keys that are pressed before a document is chosen. */
  const first = () => {
    const top = bar().getBoundingClientRect().bottom - 4;
    for (const index of order) {
      const card = cards.get(index);
      if (card && card.element.getBoundingClientRect().top >= top) return index;
    }
    return order[0] ?? null;
  };

  /** Go to the next document (1) or the previous one (-1), or to the next for which `wanted` holds. */
  const move = (by, wanted = () => true) => {
    const here = current === null ? -1 : order.indexOf(current);
    if (here < 0) {
      const start = first();
      if (start !== null && wanted(start)) return go(start);
    }
    for (let place = here + by; place >= 0 && place < order.length; place += by) {
      if (wanted(order[place])) return go(order[place]);
    }
    return false;
  };

  const print = on => {
    if (on === printing) return;
    if (on) {
      printing = true;
      const last = Math.ceil(PRINTED / SIZE);
      chunks.forEach((chunk, number) => {
        if (number < last) fill(chunk);
        chunk.element.hidden = number >= last;
      });
      note.hidden = order.length <= last * SIZE;
      note.textContent = `The first ${Numbers.count(last * SIZE)} of the ${Numbers.count(order.length)} documents listed.`;
    } else {
      chunks.forEach(chunk => (chunk.element.hidden = false));
      note.hidden = true;
      printing = false;
    }
  };
  window.addEventListener("beforeprint", () => print(true));
  window.addEventListener("afterprint", () => print(false));
  window.matchMedia("print").addEventListener("change", event => print(event.matches));

  let width = root.clientWidth;
  window.addEventListener("resize", () => {
    if (root.clientWidth === width) return;
    width = root.clientWidth;
    chunks.filter(chunk => !chunk.filled).forEach(estimate);
  });

  return {
    show, select, go, move, bar,
    card: index => cards.get(index),
    refresh: () => cards.forEach(card => card.update()),
    each: call => cards.forEach(call),
    listed: index => order.includes(index),
    get current() {
      return current;
    },
    get count() {
      return order.length;
    },
  };
})();
