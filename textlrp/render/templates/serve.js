"use strict";
(() => {
  const PAUSE = 400; // milliseconds without a key before the text is explained
  const PATIENCE = 300; // milliseconds before a bar appears
  const LIMIT = 5000000; // bytes of a request; the server has the same limit

  const at = (id) => document.getElementById(id);
  const data = JSON.parse(at("textlrp-data").textContent);
  const token = new URLSearchParams(location.search).get("token") || "";
  const page = crypto.randomUUID();
  let latest = 0; // the number of the last request; answers to earlier ones are dropped
  let asked = ""; // the body of the last request
  let controller = null;
  let pause = 0;
  let patience = 0;

  function option(value, text) {
    const made = document.createElement("option");
    made.value = value;
    made.textContent = text;
    return made;
  }

  function fillLabels() {
    const labels = data.models[Number(at("model").value)].labels;
    const kept = [at("target").value, at("contrast").value];
    at("target").replaceChildren(option("", "the predicted label"), ...labels.map((label) => option(label, label)));
    at("contrast").replaceChildren(
      option("", "(nothing)"),
      ...(labels.length > 1 ? [option("runner-up", "the runner-up"), ...labels.map((label) => option(label, label))] : []),
    );
    if (labels.includes(kept[0])) at("target").value = kept[0];
    if (labels.includes(kept[1]) || (kept[1] === "runner-up" && labels.length > 1)) at("contrast").value = kept[1];
  }

  // Only these rules take a reference.
  const measured = () => at("rules").value.trim() === "difference";

  function question() {
    return JSON.stringify({
      page,
      model: Number(at("model").value),
      text: at("text").value,
      pair: at("second").open ? at("pair").value : "",
      target: at("target").value,
      contrast: at("contrast").value,
      rules: at("rules").value,
      reference: measured() ? at("reference").value : "",
      long: at("long").value,
      by: document.querySelector("input[name=by]:checked").value,
    });
  }

  function show(id, shown) {
    at(id).hidden = !shown;
  }

  function busy(on) {
    at("answer").setAttribute("aria-busy", String(on));
    clearTimeout(patience);
    show("work", false);
    if (on) {
      at("progress").removeAttribute("value");
      at("steps").textContent = "Explaining …";
      patience = setTimeout(() => {
        show("work", true);
        show("error", false);
      }, PATIENCE);
    }
  }

  function clear() {
    at("result").replaceChildren();
    show("save", false);
    at("status").textContent = "";
  }

  function fail(sentence) {
    clear();
    show("hint", false);
    at("error").textContent = sentence.charAt(0).toUpperCase() + sentence.slice(1) + (/[.!?]$/.test(sentence) ? "" : ".");
    show("error", true);
  }

  function present(answer) {
    // The server writes this markup and escapes every text in it; the policy of the page allows no other script.
    const made = new DOMParser().parseFromString(answer.html, "text/html").querySelector(".textlrp");
    const open = [...at("result").querySelectorAll("details")].map((details) => details.open);
    made.querySelectorAll("details").forEach((details, i) => { details.open = open[i] === true; });
    at("result").replaceChildren(document.adoptNode(made));
    for (const kind of ["json", "html"]) {
      at(kind).href = `/explanation.${kind}?number=${answer.number}&token=${encodeURIComponent(token)}`;
    }
    show("save", true);
    show("hint", false);
    show("error", false);
    at("status").textContent = answer.summary;
  }

  function step(message) {
    if (message.total < 2) return;
    at("progress").max = message.total;
    at("progress").value = message.done;
    at("steps").textContent = `Explaining, step ${message.done} of ${message.total}`;
  }

  async function read(response, number) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (number !== latest) return;
      rest += value || "";
      const lines = rest.split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const message = JSON.parse(line);
        if ("done" in message) step(message);
        else if ("error" in message) fail(message.error);
        else if ("html" in message) present(message);
      }
      if (done) return;
    }
  }

  async function ask(again) {
    clearTimeout(pause);
    const body = question();
    if (body === asked && !again) return;
    asked = body;
    const number = ++latest;
    if (controller) controller.abort();
    controller = new AbortController();
    if (!at("text").value.trim()) {
      busy(false);
      clear();
      show("error", false);
      show("hint", true);
      return;
    }
    if (new Blob([body]).size > LIMIT) {
      busy(false);
      fail(`The text is too long: a request may have ${LIMIT.toLocaleString("en")} bytes`);
      return;
    }
    busy(true);
    try {
      const headers = { "Content-Type": "application/json", Authorization: `Bearer ${token}` };
      const response = await fetch("/explain", { method: "POST", headers, body, signal: controller.signal });
      if (number !== latest) return;
      if (response.ok) await read(response, number);
      else if ((response.headers.get("content-type") || "").startsWith("application/json")) fail((await response.json()).error);
      else fail((await response.text()).trim());
    } catch (error) {
      if (number !== latest || error.name === "AbortError") return;
      fail("The server does not answer. Is textlrp serve still running?");
    }
    if (number === latest) busy(false);
  }

  function soon() {
    show("reference-choice", measured());
    clearTimeout(pause);
    pause = setTimeout(ask, PAUSE);
  }

  at("model").replaceChildren(...data.models.map((model, i) => option(String(i), model.name)));
  show("model-choice", data.models.length > 1);
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
  ask();
})();
