"use strict";
// Words of an explanation that can be left out. One of them is in the order of the Tab key; arrow keys go on.
const Words = (() => {
  const out = new Set(); // places, such as 1:0-4
  let listener = () => {};

  const all = (side) => [...side.querySelectorAll("[data-place]")];

  function mark(word) {
    const left = out.has(word.dataset.place);
    word.classList.toggle("out", left);
    word.setAttribute("aria-pressed", String(left));
  }

  function refresh() {
    document.querySelectorAll("[data-place]").forEach(mark);
    document.getElementById("restore").disabled = out.size === 0;
  }

  function toggle(word) {
    if (!out.delete(word.dataset.place)) out.add(word.dataset.place);
    refresh();
    listener();
  }

  function focus(side, word) {
    all(side).forEach((other) => { other.tabIndex = other === word ? 0 : -1; });
    word.focus();
  }

  function pressed(side, event) {
    const word = event.target.closest("[data-place]");
    if (!word || event.ctrlKey || event.metaKey || event.altKey) return;
    const words = all(side);
    const at = words.indexOf(word);
    const forward = word.closest("[dir]").dir === "rtl" ? "ArrowLeft" : "ArrowRight";
    const to = { [forward]: at + 1, [forward === "ArrowRight" ? "ArrowLeft" : "ArrowRight"]: at - 1, Home: 0, End: words.length - 1 }[event.key];
    if (event.key === "Enter" || event.key === " ") toggle(word);
    else if (to === undefined) return;
    else if (words[to]) focus(side, words[to]);
    event.preventDefault();
  }

  // Make the words of a new explanation buttons.
  function ready(side) {
    all(side).forEach((word, i) => {
      word.setAttribute("role", "button");
      word.tabIndex = i === 0 ? 0 : -1;
    });
    refresh();
  }

  function listen(side) {
    side.addEventListener("click", (event) => {
      const word = event.target.closest("[data-place]");
      if (!word || String(getSelection())) return; // to select text is not to click
      all(side).forEach((other) => { other.tabIndex = other === word ? 0 : -1; });
      toggle(word);
    });
    side.addEventListener("keydown", (event) => pressed(side, event));
  }

  return {
    out,
    ready,
    refresh,
    listen,
    changed(then) { listener = then; },
    set(places) {
      out.clear();
      places.forEach((place) => out.add(place));
      refresh();
    },
    // The words left out that an explanation shows.
    of: (side) => all(side).map((word) => word.dataset.place).filter((place) => out.has(place)),
  };
})();

// Elements and texts; a string is always text.
function element(name, ...parts) {
  const made = document.createElement(name);
  made.append(...parts);
  return made;
}

// The label whose score an answer tells, or the two whose difference it is.
const scored = ({ target, contrast }) =>
  [element("bdi", target), ...(contrast === null ? [] : [" minus that for ", element("bdi", contrast)])];
