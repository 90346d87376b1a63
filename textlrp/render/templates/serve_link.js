// The state of the page as the fragment of a link.
const Link = (() => {
  const LONG = 8000; // characters from which on some programs cut a link

  function write(state) {
    const kept = new URLSearchParams();
    for (const [name, value] of Object.entries(state)) if (value) kept.set(name, value);
    return `#${kept}`;
  }

  // The state that a fragment holds; null if it holds none.
  function read(fragment) {
    const given = new URLSearchParams(fragment.replace(/^#/, ""));
    return given.has("text") ? Object.fromEntries(given) : null;
  }

  async function copy(link, what) {
    show("by-hand", false);
    const note = link.length > LONG ? ` It has ${link.length.toLocaleString("en")} characters: some programs cut it.` : "";
    try {
      await navigator.clipboard.writeText(link);
      at("copied").textContent = `${what} is copied.${note}`;
    } catch {
      at("copied").textContent = `The browser does not let this page copy.${note}`;
      at("copy").value = link;
      show("by-hand", true);
      at("copy").select();
    }
  }

  return { write, read, copy };
})();
