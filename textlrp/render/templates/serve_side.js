// One explanation on the page: it asks the server, and shows the answers to its latest questions.
const PATIENCE = 300; // milliseconds before a bar appears
const LIMIT = 5000000; // bytes of a request; the server has the same limit

const at = (id) => document.getElementById(id);

function show(id, shown) {
  at(id).hidden = !shown;
}

class Side {
  constructor(suffix, token, page, answered) {
    Object.assign(this, { suffix, token, answered, page: page + suffix, scorePage: `${page}${suffix}-score` });
    this.latest = 0; // the number of the last request; answers to earlier ones are dropped
    this.asked = ""; // the body of the last request
    this.controller = null;
    this.scoring = null;
    this.patience = 0;
    this.answer = null; // the last answer that is shown
    Words.listen(this.at("result"));
  }

  at(id) {
    return at(id + this.suffix);
  }

  show(id, shown) {
    show(id + this.suffix, shown);
  }

  busy(on) {
    this.at("answer").setAttribute("aria-busy", String(on));
    clearTimeout(this.patience);
    this.show("work", false);
    if (on) {
      this.at("progress").removeAttribute("value");
      this.at("steps").textContent = "Explaining …";
      this.patience = setTimeout(() => {
        this.show("work", true);
        this.show("error", false);
      }, PATIENCE);
    }
  }

  clear() {
    this.at("result").after(this.at("outcome"));
    this.at("result").replaceChildren();
    this.show("save", false);
    this.at("status").textContent = "";
    this.answer = null;
    Compare.show(this.at("compared"), null);
    this.score([]);
    this.answered();
  }

  empty() {
    this.stop();
    this.clear();
    this.show("error", false);
    this.show("hint", true);
  }

  stop() {
    this.latest += 1;
    this.asked = "";
    if (this.controller) this.controller.abort();
    this.busy(false);
  }

  sentence(text) {
    return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
  }

  fail(sentence) {
    this.clear();
    this.show("hint", false);
    this.at("error").textContent = this.sentence(sentence);
    this.show("error", true);
  }

  present(answer) {
    // The server writes this markup and escapes every text in it; the policy of the page allows no other script.
    const made = new DOMParser().parseFromString(answer.html, "text/html").querySelector(".textlrp");
    const open = [...this.at("result").querySelectorAll("details")].map((details) => details.open);
    made.querySelectorAll("details").forEach((details, i) => { details.open = open[i] === true; });
    const outcome = this.at("outcome");
    this.at("result").replaceChildren(document.adoptNode(made));
    made.querySelector(".reading").after(outcome); // below the words that are clicked
    for (const kind of ["json", "html"]) {
      this.at(kind).href = `/explanation.${kind}?number=${answer.number}&token=${encodeURIComponent(this.token)}`;
    }
    this.show("save", true);
    this.show("hint", false);
    this.show("error", false);
    this.at("status").textContent = answer.summary;
    this.answer = answer;
    Compare.show(this.at("compared"), answer.compared);
    Words.ready(this.at("result"));
    this.answered(this);
  }

  step(message) {
    if (message.total < 2) return;
    this.at("progress").max = message.total;
    this.at("progress").value = message.done;
    this.at("steps").textContent = `Explaining, step ${message.done} of ${message.total}`;
  }

  // Send a question, and hand on the messages that answer it.
  async send(path, body, signal, each) {
    const headers = { "Content-Type": "application/json", Authorization: `Bearer ${this.token}` };
    const response = await fetch(path, { method: "POST", headers, body, signal });
    if (!response.ok) {
      const json = (response.headers.get("content-type") || "").startsWith("application/json");
      each({ error: json ? (await response.json()).error : (await response.text()).trim() });
      return;
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      rest += value || "";
      const lines = rest.split("\n");
      rest = lines.pop();
      lines.forEach((line) => each(JSON.parse(line)));
      if (done) return;
    }
  }

  async ask(question, again) {
    const body = JSON.stringify({ page: this.page, ...question });
    if (body === this.asked && !again) return;
    this.stop();
    const number = this.latest;
    this.asked = body;
    this.controller = new AbortController();
    if (new Blob([body]).size > LIMIT) {
      this.fail(`The text is too long: a request may have ${LIMIT.toLocaleString("en")} bytes`);
      return;
    }
    this.busy(true);
    try {
      await this.send("/explain", body, this.controller.signal, (message) => {
        if (number !== this.latest) return;
        if ("done" in message) this.step(message);
        else if ("error" in message) this.fail(message.error);
        else if ("html" in message) this.present(Object.assign(message, { text: question.text, pair: question.pair, by: question.by }));
      });
    } catch (error) {
      if (number !== this.latest || error.name === "AbortError") return;
      this.fail("The server does not answer. Is textlrp serve still running?");
    }
    if (number === this.latest) this.busy(false);
  }

  // Show the score without some words of the explanation that is shown.
  async score(places, how) {
    if (this.scoring) this.scoring.abort();
    this.scoring = null;
    if (!places.length || !this.answer) {
      this.show("outcome", false);
      this.at("outcome").replaceChildren();
      return;
    }
    const controller = this.scoring = new AbortController();
    const body = JSON.stringify({ page: this.scorePage, number: this.answer.number, places, how });
    try {
      await this.send("/without", body, controller.signal, (message) => {
        if (controller === this.scoring && !("done" in message) && !message.superseded) this.tell(message, how);
      });
    } catch (error) {
      if (controller === this.scoring) this.tell({ error: "The server does not answer. Is textlrp serve still running?" });
    }
  }

  tell(message, how) {
    const outcome = this.at("outcome");
    outcome.replaceChildren();
    if ("error" in message) outcome.append(this.sentence(message.error));
    else {
      const words = message.words.flatMap((word, i) => [...(i ? [", "] : []), element("em", element("bdi", word))]);
      outcome.append(how === "mask" ? "With " : "Without ", ...words, how === "mask" ? " masked" : "");
      outcome.append(`: ${message.after} instead of ${message.before}, a change of ${message.change}; `);
      outcome.append(`${words.length > 1 ? "the sum of their relevances" : "its relevance"} was ${message.relevance}. `);
      outcome.append("The score is that for ", ...scored(message), ".");
    }
    this.show("outcome", true);
  }
}
