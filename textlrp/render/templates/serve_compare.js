// What changed against the text before, and whether two models agree.
const Compare = (() => {
  function cell(name, content, scope) {
    const made = element(name, content);
    if (scope) made.scope = scope;
    if (name === "td") made.className = "number";
    return made;
  }

  function table(told) {
    const head = ["Word", "Before", "Now", "Change"].map((title) => cell("th", title, "col"));
    const rows = told.rows.map(([word, before, now, change]) =>
      element("tr", cell("th", element("bdi", word), "row"), cell("td", before || "not there"), cell("td", now || "gone"), cell("td", change)));
    const caption = element("caption", "Words that gained or lost relevance for ", ...scored(told));
    return element("table", caption, element("thead", element("tr", ...head)), element("tbody", ...rows));
  }

  function show(at, told) {
    at.replaceChildren();
    at.hidden = !told;
    if (!told) return;
    if (told.error) {
      at.append(element("p", told.error));
      return;
    }
    at.append(element("p", "The text before: ", element("q", element("bdi", told.text))));
    const score = element("p", "Its score for ", ...scored(told), ` was ${told.before}; now it is ${told.now}, a change of ${told.change}.`);
    const [was, is] = told.predicted;
    if (was === is) score.append(" The model says ", element("bdi", is), " of both.");
    else score.append(" The model said ", element("bdi", was), " and now says ", element("bdi", is), ".");
    at.append(score);
    if (told.rows.length) at.append(table(told));
    else at.append(element("p", "No word gained or lost relevance."));
    if (told.more) at.append(element("p", `${told.more} more words changed, by ${told.rest} together.`));
  }

  // One line on two explanations of the same text.
  function agreement(at, names, answers) {
    at.replaceChildren();
    at.hidden = !answers.every(Boolean);
    if (at.hidden) return;
    const [one, two] = answers;
    const name = (text) => element("bdi", text);
    if (one.predicted === two.predicted) at.append("The models agree: both say ", name(one.predicted), ".");
    else at.append("The models disagree: ", name(names[0]), " says ", name(one.predicted), ", ", name(names[1]), " says ", name(two.predicted), ".");
    if (JSON.stringify(one.target) !== JSON.stringify(two.target)) at.append(" Their words are explained for different labels.");
    else {
      const common = one.strongest.filter((place) => two.strongest.includes(place)).length;
      at.append(` Of their ${Math.max(one.strongest.length, two.strongest.length)} strongest words, ${common} ${common === 1 ? "is" : "are"} the same.`);
    }
  }

  return { show, agreement };
})();
