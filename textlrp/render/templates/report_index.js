// The index of a report of several pages: an address with a document leads to its page.
const goTo = () => {
  const wanted = new URLSearchParams(location.hash.slice(1)).get("doc");
  if (wanted === null) return;
  const page = Data.ids.findIndex(ids => ids.includes(wanted));
  if (page < 0) Say.aloud(`There is no document \u201c${wanted}\u201d in this report.`);
  else location.replace(`./${encodeURIComponent(Data.pages[page])}#${new URLSearchParams({ doc: wanted })}`);
};
connect();
window.addEventListener("hashchange", goTo);
goTo();
