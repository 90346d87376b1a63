(() => {
  const PAUSE = 400; // milliseconds without a key before the text is explained

  const data = JSON.parse(at("textlrp-data").textContent);
  const token = new URLSearchParams(location.search).get("token") || "";
  const page = crypto.randomUUID();
  const sides = ["", "-2"].map((suffix) => new Side(suffix, token, page, answered));
  let pause = 0;
  let shown = null; // the text, the second text and the unit of color that are shown
  let previous = null; // those before the last pause
  let kept = null; // those that were kept to compare with
  let chosen = null; // those whose words are left out

  function option(value, text) {
    const made = element("option", text);
    made.value = value;
    return made;
  }

  const model = () => data.models[Number(at("model").value)];
  const two = () => at("model-2").value !== "";
  const radio = (name) => document.querySelector(`input[name=${name}]:checked`).value;
  const checked = (name, value) => document.querySelectorAll(`input[name=${name}]`).forEach((input) => {
    if (input.value === value && !input.disabled) input.checked = true;
  });

  function fillLabels() {
    const labels = model().labels;
    const before = [at("target").value, at("contrast").value];
    at("target").replaceChildren(option("", "the predicted label"), ...labels.map((label) => option(label, label)));
    at("contrast").replaceChildren(
      option("", "(nothing)"),
      ...(labels.length > 1 ? [option("runner-up", "the runner-up"), ...labels.map((label) => option(label, label))] : []),
    );
    if (labels.includes(before[0])) at("target").value = before[0];
    if (labels.includes(before[1]) || (before[1] === "runner-up" && labels.length > 1)) at("contrast").value = before[1];
    at("how-mask").disabled = !model().mask;
    at("mask-token").textContent = model().mask ? ` (${model().mask})` : " (this model has no mask token)";
    if (!model().mask) checked("how", "delete");
  }

  // Only these rules take a reference.
  const measured = () => at("rules").value.trim() === "difference";
  const texts = () => ({ text: at("text").value, pair: at("second").open ? at("pair").value : "" });
  const same = (one, other) => one !== null && one.text === other.text && one.pair === other.pair;

  // The text to compare with, or null.
  function before() {
    if (at("compare").value === "kept") return kept;
    if (at("compare").value !== "last") return null;
    return shown && !same(shown, texts()) ? shown : previous;
  }

  function question(index) {
    const earlier = before();
    return {
      model: Number(index),
      ...texts(),
      target: at("target").value,
      contrast: at("contrast").value,
      rules: at("rules").value,
      reference: measured() ? at("reference").value : "",
      long: at("long").value,
      by: radio("by"),
      ...(earlier ? { before: earlier.text, before_pair: earlier.pair } : {}),
    };
  }

  function ask(again) {
    clearTimeout(pause);
    show("answer-2", two());
    document.querySelector(".serve").classList.toggle("two", two());
    ["model", "model-2"].forEach((id, i) => {
      show(`by-${id}`, two());
      sides[i].at("by-model").replaceChildren(element("bdi", two() ? data.models[Number(at(id).value)].name : ""));
    });
    if (!at("text").value.trim()) {
      sides.forEach((side) => side.empty());
      return;
    }
    sides[0].ask(question(at("model").value), again);
    if (two()) sides[1].ask(question(at("model-2").value), again);
    else if (sides[1].answer) sides[1].empty();
  }

  function soon() {
    show("reference-choice", measured());
    clearTimeout(pause);
    pause = setTimeout(ask, PAUSE);
  }

  function score(side) {
    side.score(Words.of(side.at("result")), radio("how"));
  }

  // A side has a new explanation, or lost the one that it had.
  function answered(side) {
    if (side) {
      const now = { text: side.answer.text, pair: side.answer.pair, by: side.answer.by };
      if (shown && !same(shown, now)) previous = shown;
      shown = now;
      if (!same(chosen, now) || chosen.by !== now.by) Words.set([]);
      chosen = now;
      score(side);
    }
    const names = ["model", "model-2"].map((id) => at(id).value && data.models[Number(at(id).value)].name);
    const answers = sides.map((each) => each.answer);
    const alike = two() && answers.every(Boolean) && same(answers[0], answers[1]);
    Compare.agreement(at("agreement"), names, alike ? answers : [null, null]);
    show("tools", answers.some(Boolean));
    show("how-choice", document.querySelector("[data-place]") !== null);
  }

  function keep(text) {
    kept = text;
    at("compare").options[2].disabled = false;
    at("compare").value = "kept";
  }

  function state() {
    const earlier = before();
    return {
      ...question(at("model").value),
      model: model().name,
      second: two() ? data.models[Number(at("model-2").value)].name : "",
      before: earlier && earlier.text,
      before_pair: earlier && earlier.pair,
      out: [...Words.out].join(" "),
      how: Words.out.size ? radio("how") : "",
    };
  }

  // Bring back what a link holds; what this page does not have is named.
  function restore(given) {
    const missing = [];
    const choose = (id, value, what) => {
      const found = [...at(id).options].find((each) => (what === "model" ? each.textContent : each.value) === value);
      if (found) at(id).value = found.value;
      else missing.push(`the ${what} ${value}`);
    };
    const get = (name) => given[name] || "";
    at("text").value = get("text");
    at("pair").value = get("pair");
    at("second").open = get("pair") !== "";
    if (get("model")) choose("model", get("model"), "model");
    at("model-2").value = "";
    if (get("second")) choose("model-2", get("second"), "model");
    fillLabels();
    choose("target", get("target"), "label");
    choose("contrast", get("contrast"), "label");
    at("rules").value = get("rules") || "attnlrp";
    at("reference").value = get("reference");
    choose("long", get("long") || "truncate", "choice");
    checked("by", get("by") || "word");
    checked("how", get("how") || "delete");
    if (get("how") && radio("how") !== get("how")) missing.push("a mask token");
    at("compare").value = "";
    if (get("before")) keep({ text: get("before"), pair: get("before_pair") });
    chosen = { text: at("text").value, pair: get("pair"), by: radio("by") };
    Words.set(get("out").split(" ").filter(Boolean));
    at("restored").textContent = missing.length ? `The link asks for what this page does not have: ${missing.join(", ")}.` : "";
    show("restored", missing.length > 0);
    show("reference-choice", measured());
    ask(true);
  }

  const models = data.models.map((each, i) => option(String(i), each.name));
  at("model").replaceChildren(...models);
  at("model-2").replaceChildren(option("", "(no second model)"), ...models.map((each) => each.cloneNode(true)));
  show("model-choice", data.models.length > 1);
  show("model-2-choice", data.models.length > 1);
  show("only", data.models.length === 1);
  at("model-name").textContent = data.models[0].name;
  // On a small screen, the explanation comes before the options.
  at("options").open = !matchMedia("(max-width: 60rem)").matches;
  fillLabels();
  show("reference-choice", measured());
  at("model").addEventListener("change", fillLabels);
  at("form").addEventListener("input", soon);
  at("form").addEventListener("change", soon);
  at("second").addEventListener("toggle", soon);
  at("form").addEventListener("submit", (event) => {
    event.preventDefault();
    ask(true);
  });
  at("form").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      ask(true);
    }
  });
  Words.changed(() => sides.forEach(score));
  at("how-choice").addEventListener("change", () => sides.forEach(score));
  at("restore").addEventListener("click", () => {
    Words.set([]);
    sides.forEach(score);
  });
  at("compare").addEventListener("change", () => ask());
  at("keep").addEventListener("click", () => {
    keep(texts());
    ask();
  });
  const address = () => location.origin + location.pathname + location.search;
  at("link").addEventListener("click", () => Link.copy(address() + Link.write(state()), "The link"));
  at("link-others").addEventListener("click", () => Link.copy(Link.write(state()), "What is put behind another address"));
  const open = () => {
    const given = Link.read(location.hash);
    if (given) restore(given);
    return given !== null;
  };
  addEventListener("hashchange", open);
  if (!open()) ask();
})();
