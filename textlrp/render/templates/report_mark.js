// Marking words: by selecting text, by tapping on words, or word by word with the keys.
const Spans = (() => {
  const key = source => (source ? "text_pair" : "text");

  /** The marked ranges of a text in UTF-16 units: all of them, or those of one side. */
  const rangesOf = (doc, source, side = null) => {
    const marks = Marks.of(doc.id).rationales;
    return Paint.ranges(side === null ? marks : marks.filter(span => Sides.same(span, side)), key(source), doc.texts[source]);
  };

  /** Sort ranges of UTF-16 units, and join those that touch or have only white space between them. */
  const joined = (text, ranges) => {
    const merged = [];
    for (const [start, end] of [...ranges].sort((a, b) => a[0] - b[0])) {
      const last = merged.at(-1);
      if (last && (start <= last[1] || !text.slice(last[1], start).trim())) last[1] = Math.max(last[1], end);
      else merged.push([start, end]);
    }
    return merged;
  };

  const trimmed = (text, [start, end]) => {
    const part = text.slice(start, end);
    return [start + part.length - part.trimStart().length, end - part.length + part.trimEnd().length];
  };

  const without = (text, ranges, [from, to]) =>
    ranges
      .flatMap(([start, end]) => [[start, Math.min(end, from)], [Math.max(start, to), end]])
      .filter(([start, end]) => end > start)
      .map(range => trimmed(text, range))
      .filter(([start, end]) => end > start);

  /** Save the ranges of each side of a text, as pairs. */
  const save = (index, source, sides) => {
    const doc = Data.of(index);
    const text = doc.texts[source];
    const own = sides.flatMap(([side, ranges]) =>
      ranges.map(([start, end]) => ({
        start: Text.points(text, start), end: Text.points(text, end), text: text.slice(start, end), source: key(source), ...side,
      })),
    );
    const others = Marks.of(doc.id).rationales.filter(span => span.source !== key(source));
    const order = (a, b) => (a.source === b.source ? a.start - b.start : a.source < b.source ? -1 : 1);
    Actions.change(index, { rationales: [...others, ...own].sort(order) });
  };

  /** The sides that a text's marks speak for, with the ranges of each. */
  const bySide = (doc, source) => {
    const sides = [];
    for (const { source: where, label = null, against = false } of Marks.of(doc.id).rationales) {
      const side = { label, against };
      if (where === key(source) && !sides.some(other => Sides.same(other, side))) sides.push(side);
    }
    return sides.map(side => [side, rangesOf(doc, source, side)]);
  };

  /** Widen a range of UTF-16 units to whole words; null if there is no word in it. */
  const snap = (index, source, [start, end]) => {
    const pieces = List.card(index).pieces[source].filter(piece => !piece.blank && piece.start < end && piece.end > start);
    return pieces.length ? [pieces[0].start, pieces.at(-1).end] : null;
  };

  /** Mark the words of a range for a side. Of one right label, they speak for no other side. */
  const add = (index, source, range, side = Sides.current(index)) => {
    const whole = snap(index, source, range);
    if (!whole) return;
    const doc = Data.of(index);
    const text = doc.texts[source];
    const others = bySide(doc, source).filter(([other]) => !Sides.same(other, side));
    const rest = Data.multi ? others : others.map(([other, ranges]) => [other, without(text, ranges, whole)]);
    save(index, source, [...rest, [side, joined(text, [...rangesOf(doc, source, side), whole])]]);
  };

  const drop = (index, source, range) => {
    const doc = Data.of(index);
    const whole = snap(index, source, range) || range;
    save(index, source, bySide(doc, source).map(([side, ranges]) => [side, without(doc.texts[source], ranges, whole)]));
  };

  /** Let a mark speak for another side. */
  const turn = (index, span, side) => {
    const rationales = Marks.of(Data.of(index).id).rationales.map(other =>
      other.start === span.start && other.source === span.source && Sides.same(other, span) ? { ...other, ...side } : other,
    );
    Actions.change(index, { rationales });
  };

  const touches = (index, source, [start, end]) => rangesOf(Data.of(index), source).some(([a, b]) => a < end && start < b);
  const covers = (index, source, [start, end], side = Sides.current(index)) =>
    rangesOf(Data.of(index), source, side).some(([a, b]) => a <= start && end <= b);
  const at = (index, source, unit) => rangesOf(Data.of(index), source).find(([a, b]) => a <= unit && unit < b) || null;

  const remove = (index, span) => {
    const rest = Marks.of(Data.of(index).id).rationales.filter(
      other => other.start !== span.start || other.source !== span.source || !Sides.same(other, span),
    );
    Actions.change(index, { rationales: rest });
    List.card(index).element.focus({ preventScroll: true });
  };

  /** Mark the words of a range, or remove the mark if all of them are marked. */
  const flip = (index, source, range) => {
    const whole = snap(index, source, range);
    if (!whole) return;
    if (covers(index, source, whole)) drop(index, source, whole);
    else add(index, source, whole);
  };

  return { add, drop, remove, flip, turn, touches, covers, snap, at };
})();

const Selected = (() => {
  const float = byId("float");
  const OTHERS = 4; // up to so many labels have a button of their own
  const mark = make("button", { type: "button", on: { click: () => finish(Spans.add) } }, "Mark");
  const others = make("span", { class: "others" });
  const unmark = make("button", { type: "button", on: { click: () => finish(Spans.drop) } }, "Remove mark");
  let chosen = null;
  float.append(mark, others, unmark);
  // Pressing the button must not clear the selection before the click.
  float.addEventListener("pointerdown", event => event.preventDefault());
  float.addEventListener("mousedown", event => event.preventDefault());

  const blockOf = node => (node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement)?.closest(".text") ?? null;

  /** Count the UTF-16 units of a block's text before a position in it. */
  const unit = (block, node, offset) => {
    const range = document.createRange();
    range.selectNodeContents(block);
    range.setEnd(node, offset);
    return range.toString().length;
  };

  const place = (block, range, rectangle) => {
    chosen = { index: Number(block.dataset.document), source: Number(block.dataset.source), range };
    const { index, source } = chosen;
    const whole = Spans.snap(index, source, range) || range;
    const side = Sides.current(index);
    mark.textContent = `Mark ${Sides.said(side)}`.trim();
    const sides = Data.labels.length <= OTHERS ? Sides.all().filter(other => !Sides.same(other, side) && !other.against) : [];
    mark.hidden = Spans.covers(index, source, whole, side) || (side.label === null && sides.length > 0);
    others.replaceChildren(
      ...sides
        .filter(other => !Spans.covers(index, source, whole, other))
        .map(other => make("button", { type: "button", on: { click: () => finish((...place) => Spans.add(...place, other)) } }, `Mark ${Sides.said(other)}`)),
    );
    unmark.hidden = !Spans.touches(chosen.index, chosen.source, range);
    float.hidden = false;
    const width = float.offsetWidth;
    const left = Math.max(8, Math.min(rectangle.left + rectangle.width / 2 - width / 2, window.innerWidth - width - 8));
    const below = rectangle.bottom + 8;
    const top = below + float.offsetHeight > window.innerHeight ? rectangle.top - float.offsetHeight - 8 : below;
    float.style.left = `${left}px`;
    float.style.top = `${Math.max(8, top)}px`;
  };

  const hide = () => {
    float.hidden = true;
    chosen = null;
  };

  const finish = call => {
    if (!chosen) return;
    const { index, source } = chosen;
    const selected = look(); // on a slow machine, more may be selected by now
    const range = selected && selected.block === List.card(index)?.blocks[source] ? selected.range : chosen.range;
    hide();
    window.getSelection().removeAllRanges();
    named(() => call(index, source, range));
  };

  /** The selected words, if the selection is within one text. */
  const look = () => {
    const selection = window.getSelection();
    if (!selection.rangeCount || selection.isCollapsed) return null;
    const range = selection.getRangeAt(0);
    const block = blockOf(range.startContainer);
    if (!block) return null;
    const end = block.contains(range.endContainer) ? unit(block, range.endContainer, range.endOffset) : block.textContent.length;
    const units = [unit(block, range.startContainer, range.startOffset), end];
    if (!Spans.snap(Number(block.dataset.document), Number(block.dataset.source), units)) return null;
    const rectangles = range.getClientRects();
    return { block, range: units, rectangle: rectangles[rectangles.length - 1] || range.getBoundingClientRect() };
  };

  let waiting = 0;
  document.addEventListener("selectionchange", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      const selected = look();
      if (selected) place(selected.block, selected.range, selected.rectangle);
      else if (!window.getSelection().isCollapsed || !clicked) hide();
      clicked = false;
    }, 120);
  });

  const caret = event => {
    if (document.caretPositionFromPoint) {
      const position = document.caretPositionFromPoint(event.clientX, event.clientY);
      return position && [position.offsetNode, position.offset];
    }
    const position = document.caretRangeFromPoint?.(event.clientX, event.clientY);
    return position && [position.startContainer, position.startOffset];
  };

  let clicked = false;
  document.addEventListener("click", event => {
    const block = event.target instanceof Element ? event.target.closest(".text") : null;
    if (!block) {
      if (!float.contains(event.target)) hide();
      return;
    }
    if (!window.getSelection().isCollapsed) return;
    const index = Number(block.dataset.document);
    const source = Number(block.dataset.source);
    const position = caret(event);
    if (!position || !block.contains(position[0])) return;
    const at = unit(block, ...position);
    if (Mode.active === index) {
      Mode.tap(index, source, at, event);
      return;
    }
    const own = event.target.closest(".mine") && (Spans.at(index, source, at) || Spans.at(index, source, at - 1));
    if (!own) {
      hide();
      return;
    }
    clicked = true;
    place(block, own, event.target.getClientRects()[0]);
  });
  window.addEventListener("scroll", () => float.hidden || hide(), { passive: true });

  /** Mark the selected words; return false if nothing is selected. */
  const take = () => {
    const selected = look();
    if (!selected) return false;
    chosen = { index: Number(selected.block.dataset.document), source: Number(selected.block.dataset.source), range: selected.range };
    finish(Spans.add);
    return true;
  };

  return { take, hide };
})();

const Mode = (() => {
  let active = null;
  let source = 0;
  let here = 0; // the piece with the cursor
  let anchor = 0; // the piece where a range of words began

  const blockOf = () => List.card(active).blocks[source];
  const pieces = () => List.card(active).pieces[source];
  const span = () => [Math.min(anchor, here), Math.max(anchor, here)];

  /** Show the cursor and the range of words. */
  const point = () => {
    const [from, to] = span();
    List.card(active)?.blocks.forEach((block, which) => {
      block.querySelectorAll(".cursor").forEach(word => word.classList.remove("cursor"));
      if (which !== source) return;
      for (let piece = from; piece <= to; piece++) {
        block.querySelectorAll(`[data-piece="${piece}"]`).forEach(word => word.classList.add("cursor"));
      }
      block.querySelector(".cursor")?.scrollIntoView({ block: "nearest" });
    });
  };

  const say = () => {
    const own = pieces();
    const [from, to] = span();
    const text = Data.of(active).texts[source].slice(own[from].start, own[to].end);
    const on = Spans.covers(active, source, [own[from].start, own[to].end]);
    Say.quietly(`${text}${on ? `, marked ${Sides.said(Sides.current(active))}`.trimEnd() : ""}`);
  };

  const enter = index => {
    leave();
    if (!List.card(index)) return;
    active = index;
    source = 0;
    here = anchor = Math.max(0, pieces().findIndex(piece => !piece.blank));
    List.card(index).blocks.forEach(block => {
      block.tabIndex = 0;
      block.setAttribute("role", "group");
      block.setAttribute("aria-label", "Mark words: arrow keys go from word to word, with Shift they take several, Enter marks, Escape ends");
    });
    List.card(index).update();
    blockOf().focus({ preventScroll: true });
    say();
  };

  const leave = () => {
    if (active === null) return;
    const index = active;
    active = null;
    const card = List.card(index);
    card?.blocks.forEach(block => ["tabindex", "role", "aria-label"].forEach(name => block.removeAttribute(name)));
    card?.update();
  };

  const toggle = index => {
    if (active === index) {
      leave();
      List.card(index).element.focus({ preventScroll: true });
    } else named(() => enter(index));
  };

  const forward = by => {
    const own = pieces();
    for (let i = here + by; i >= 0 && i < own.length; i += by) if (!own[i].blank) return i;
    const card = List.card(active);
    const next = source + by;
    if (next < 0 || next >= card.blocks.length) return here;
    source = next;
    const other = pieces().map((piece, i) => [piece, i]).filter(([piece]) => !piece.blank);
    here = anchor = (by > 0 ? other[0] : other.at(-1))[1];
    blockOf().focus({ preventScroll: true });
    return here;
  };

  /** The word above (-1) or below (1), as the lines are laid out. */
  const line = by => {
    const spans = [...blockOf().querySelectorAll("[data-piece]")];
    const from = spans.find(word => Number(word.dataset.piece) === here)?.getBoundingClientRect();
    if (!from) return here;
    let best = null;
    for (const word of spans) {
      const to = word.getBoundingClientRect();
      const rows = (to.top - from.top) * by;
      if (rows < from.height / 2) continue;
      const far = rows * 20 + Math.abs(to.left + to.width / 2 - from.left - from.width / 2);
      if (!best || far < best[0]) best = [far, Number(word.dataset.piece)];
    }
    return best ? best[1] : here;
  };

  const press = event => {
    const rightToLeft = getComputedStyle(blockOf()).direction === "rtl";
    const steps = {
      ArrowRight: () => forward(rightToLeft ? -1 : 1),
      ArrowLeft: () => forward(rightToLeft ? 1 : -1),
      ArrowDown: () => line(1),
      ArrowUp: () => line(-1),
      Home: () => pieces().findIndex(piece => !piece.blank),
      End: () => pieces().findLastIndex(piece => !piece.blank),
    };
    if (steps[event.key]) {
      here = steps[event.key]();
      if (!event.shiftKey) anchor = here;
      point();
      say();
    } else if (event.key === "Enter" || event.key === " ") {
      const own = pieces();
      const [from, to] = span();
      Spans.flip(active, source, [own[from].start, own[to].end]);
      anchor = here;
      point();
      say();
    } else if (event.key === "Delete" || event.key === "Backspace") {
      const own = pieces();
      const [from, to] = span();
      Spans.drop(active, source, [own[from].start, own[to].end]);
      point();
    } else if (event.key === "Escape") toggle(active);
    else return false;
    event.preventDefault();
    return true;
  };

  /** A tap on a word marks it, and a second tap removes the mark; with Shift, it marks all words from the last one on. */
  const tap = (index, where, unit, event) => {
    source = where;
    const own = pieces();
    const touched = own.findIndex(piece => piece.start <= unit && unit < piece.end);
    const hit = touched >= 0 && own[touched].blank && own[touched - 1] && unit === own[touched].start ? touched - 1 : touched < 0 ? own.length - 1 : touched;
    if (!own[hit] || own[hit].blank) return;
    if (!event.shiftKey) anchor = hit;
    here = hit;
    const [from, to] = span();
    Spans.flip(index, source, [own[from].start, own[to].end]);
    anchor = hit;
    point();
  };

  return {
    toggle, leave, press, tap, point,
    get active() {
      return active;
    },
  };
})();
