// One document: the model's answer, the text in its colors, and the annotator's marks.
const View = { by: "word", view: "first", threshold: 0.1, scale: "one", needles: [] };

const Paint = (() => {
  /** The weight of a document's strongest word: on a scale of its own, or on that of all documents. */
  const strongest = ({ unit, share }) => (View.scale === "own" ? share : (unit * Data.steps) / (Data.color_end || 1));

  /** Each word's weight from -1 to 1, the unit that it is colored with, and that unit's relevance. */
  const weigh = explained => {
    const { steps, unit } = explained;
    const most = strongest(explained) / Data.steps;
    if (View.by === "word") {
      return steps.map((step, word) => ({ weight: step * most, unit: word, relevance: step * unit }));
    }
    const sums = [];
    const of = [];
    for (const count of explained.sentences.flat()) {
      sums.push(0);
      for (let i = 0; i < count; i++) of.push(sums.length - 1);
    }
    steps.forEach((step, word) => (sums[of[word]] += step));
    const end = strongest(explained) / Math.max(1e-9, ...sums.map(Math.abs));
    return of.map(sentence => ({
      weight: sums[sentence] * end, unit: sentence, relevance: sums[sentence] * unit,
    }));
  };

  const colorClass = weight => {
    const size = Math.min(1, Math.abs(weight));
    return size < Math.max(0.05, View.threshold) ? "" : (weight > 0 ? "p" : "n") + Math.ceil(size * 10);
  };

  const ranges = (spans, source, text) =>
    spans
      .filter(span => span.source === source)
      .map(span => [Text.units(text, span.start), Text.units(text, span.end)])
      .filter(([start, end]) => end > start);

  const inside = (list, at) => list.some(([start, end]) => start <= at && at < end);

  /** Fill a block with a text in its colors; `separate` is whether each word gets an element of its own. */
  const draw = (block, text, pieces, options) => {
    const { weights, mine, aside, given, separate } = options;
    const cuts = [...new Set([...mine, ...aside, ...given].flat())];
    const runs = [];
    pieces.forEach((piece, number) => {
      const own = weights && piece.word >= 0 ? weights[piece.word] : null;
      const next = pieces[number + 1];
      const trailing = View.by === "sentence" && piece.blank && (!next || !weights || weights[next.word]?.unit !== own?.unit);
      const color = own && !trailing ? colorClass(own.weight) : "";
      const within = cuts.filter(at => at > piece.start && at < piece.end).sort((a, b) => a - b);
      const edges = [piece.start, ...within, piece.end];
      for (let i = 0; i + 1 < edges.length; i++) {
        const classes = [
          color,
          inside(mine, edges[i]) ? "mine" : "",
          inside(aside, edges[i]) ? "aside" : "",
          inside(given, edges[i]) ? "given" : "",
          weights && piece.word < 0 ? "unread" : "",
        ].filter(Boolean).join(" ");
        const group = `${classes} ${color ? own.unit : ""} ${separate && !piece.blank ? number : ""}`;
        const last = runs.at(-1);
        if (last && last.group === group) last.end = edges[i + 1];
        else {
          const title = color ? Numbers.signed(own.relevance) : null;
          const data = separate && !piece.blank ? { piece: number } : {};
          runs.push({ start: edges[i], end: edges[i + 1], classes, group, title, data });
        }
      }
    });
    // With dir=auto, a browser finds the direction again for each element that is added: a long text takes seconds.
    block.removeAttribute("dir");
    block.replaceChildren(
      ...runs.map(run => {
        const shown = Text.visible(text.slice(run.start, run.end));
        if (!run.classes && run.data.piece === undefined) return document.createTextNode(shown);
        return make("span", { class: run.classes || null, title: run.title, data: run.data }, shown);
      }),
    );
    block.setAttribute("dir", "auto");
  };

  /** The strongest words in one sentence, for readers who do not see colors. */
  const words = (doc, explained) => {
    const shown = [];
    const most = strongest(explained) / Data.steps;
    let number = 0;
    doc.texts.forEach((text, source) => {
      for (const piece of Text.pieces(text, explained.words[source], number)) {
        const step = piece.word < 0 ? 0 : explained.steps[piece.word];
        if (Math.abs(step) * most >= View.threshold && !piece.blank) shown.push([step, text.slice(piece.start, piece.end)]);
      }
      number += explained.words[source].length - 1;
    });
    shown.sort((a, b) => Math.abs(b[0]) - Math.abs(a[0]));
    const named = shown.slice(0, 8).map(([step, word]) => `${word} ${Numbers.signed(step * explained.unit)}`);
    return named.length ? `Strongest words: ${named.join(", ")}.` : "";
  };

  return { weigh, ranges, draw, words };
})();

const Card = (() => {
  const RIGHT = Data.multi ? "Right labels" : "Right label";
  const BUTTONS = 6; // up to so many labels are buttons; more are a list
  const VERDICTS = [["agree", "Agree"], ["disagree", "Disagree"], ["unsure", "Unsure"]];

  const toggle = (text, press, extra = {}) =>
    make("button", { type: "button", class: "choice", "aria-pressed": "false", on: { click: press }, ...extra }, text);

  /** A list of sides to choose from. */
  const chooserOfSides = (name, choose) => {
    const sides = Sides.all();
    const options = sides.map((side, i) => make("option", { value: i }, Sides.said(side)));
    const element = make(
      "select", { class: "side", "aria-label": name, on: { change: () => choose(element.value === "" ? null : sides[Number(element.value)]) } },
      make("option", { value: "" }, "for \u2026"), ...options,
    );
    return {
      element,
      show: side => {
        const at = sides.findIndex(other => Sides.same(other, side));
        element.value = at < 0 ? "" : String(at);
      },
    };
  };

  const create = (index, place, count) => {
    const doc = Data.of(index);
    const name = `d${index}`;
    const said = make("p", { class: "said" });
    const measured = make("p", { class: "cut", hidden: true });
    const follow = event => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault(); // the address keeps the filters
      Filter.at(doc.id);
      List.go(index);
    };
    const address = { href: `#${new URLSearchParams({ doc: doc.id })}`, class: "permalink", on: { click: follow } };
    const link = make("a", address, make("bdi", {}, doc.id));
    const heading = make("h3", { id: name }, link);
    const blocks = doc.texts.map((text, source) => {
      const options = { class: "text", dir: "auto", data: { document: index, source } };
      const block = make("div", options);
      return block;
    });
    const aloud = make("p", { class: "aloud" });
    const cut = make("p", { class: "cut", hidden: true });
    const printed = make("p", { class: "printed" });
    const spans = make("ul", { class: "marks", "aria-label": "Words that you marked" });
    const act = (patch, group) => Actions.change(index, patch, group);

    const verdicts = VERDICTS.map(([verdict, text]) => [verdict, toggle(text, () => Actions.verdict(index, verdict), { data: { verdict } })]);
    const verdict = make("div", { class: "choices", role: "group", "aria-label": "Verdict" }, ...verdicts.map(([, button]) => button));
    let labels = [];
    let chooser = null;
    if (Data.labels.length <= BUTTONS) {
      labels = Data.labels.map((label, i) => [label, toggle(make("bdi", {}, label), () => Actions.label(index, i), { data: { label: i } })]);
    } else {
      const options = Data.labels.map((label, i) => make("option", { value: i }, label));
      const choose = () => {
        const picked = [...chooser.selectedOptions].filter(option => option.value !== "").map(option => Data.labels[Number(option.value)]);
        act({ labels: picked.length ? picked : null });
      };
      const blank = Data.multi ? null : make("option", { value: "" }, "\u2013");
      chooser = make("select", { "aria-label": RIGHT, multiple: Data.multi, size: Data.multi ? 5 : null, on: { change: choose } }, blank, ...options);
    }
    const right = make(
      "div", { class: "choices", role: "group", "aria-label": RIGHT },
      make("span", { class: "name" }, RIGHT), chooser, ...labels.map(([, button]) => button),
    );
    const mode = toggle("Mark words", () => Mode.toggle(index), { class: "choice mode" });
    const comment = make("textarea", {
      rows: 2, "aria-label": `Comment on ${doc.id}`, placeholder: "Comment", hidden: true, dir: "auto",
      on: {
        input: () => act({ comment: comment.value }, `comment ${index}`),
        blur: () => update(),
      },
    });
    const remark = toggle("Comment", () => {
      comment.hidden = !comment.hidden && !comment.value;
      if (!comment.hidden) comment.focus();
      update();
    }, { class: "choice", "aria-expanded": "false" });
    remark.removeAttribute("aria-pressed");
    let shown = null; // the view of this document alone
    const switches = Data.viewsOf(index).map(([view, target, contrast, whyNot]) => {
      const press = () => {
        shown = { view, of: View.view };
        update();
      };
      const against = contrast === null ? [] : [" and not ", make("bdi", {}, Data.labels[contrast])];
      const asked = whyNot ? ["Why not ", make("bdi", {}, Data.labels[contrast]), "?"] : [make("bdi", {}, Data.labels[target]), ...against];
      return [view, toggle(make("span", {}, ...asked), press)];
    });
    if (switches.length < 2) switches.length = 0;
    const viewing = make(
      "div", { class: "choices viewing", role: "group", "aria-label": "Colors for", hidden: !switches.length },
      make("span", { class: "name" }, "Colors for"), ...switches.map(([, button]) => button),
    );
    const reveal = make("button", { type: "button", class: "reveal", on: { click: () => Actions.reveal(index) } }, "Show the model\u2019s view");
    const side = chooserOfSides("What the next marks speak for", picked => {
      Sides.choose(index, picked);
      update();
    });
    const tools = make("div", { class: "choices" }, mode, side.element, remark);
    const question = make("p", { class: "question", role: "status", hidden: true });
    const codes = Data.reasons.map(code => {
      const press = () => {
        const now = Marks.of(doc.id).reasons;
        act({ reasons: Data.reasons.filter(other => (other === code) !== now.includes(other)) });
      };
      return [code, toggle(make("bdi", {}, code), press)];
    });
    const reasons = codes.length
      ? make("div", { class: "choices", role: "group", "aria-label": "Reasons" }, make("span", { class: "name" }, "Reasons"), ...codes.map(([, button]) => button))
      : null;
    const marking = make("div", { class: "marking", role: "group", "aria-label": "Your mark" }, verdict, right, reasons, tools, reveal);
    const pairs = blocks.map((block, i) => (blocks.length > 1 ? make("div", { class: "one" }, make("p", { class: "which" }, `Text ${i + 1}`), block) : block));
    const element = make(
      "article",
      { class: "document", tabindex: -1, "aria-labelledby": name, "aria-posinset": place, "aria-setsize": count, data: { index } },
      make("header", {}, heading, said, measured), viewing, ...pairs, aloud, cut, spans, printed, question, marking, comment,
    );

    const pieces = blocks.map((block, source) => {
      const before = source ? Data.columns.words[index][0].length - 1 : 0;
      return Text.pieces(doc.texts[source], Data.columns.words[index][source], before);
    });

    const paint = () => {
      const state = Marks.of(doc.id);
      const hidden = Marks.hidden(doc.id);
      if (shown && shown.of !== View.view) shown = null; // another view was chosen for all documents
      const explained = hidden ? null : Data.explained(index, shown ? shown.view : View.view);
      const weights = explained && Paint.weigh(explained);
      blocks.forEach((block, source) => {
        const text = doc.texts[source];
        const key = source ? "text_pair" : "text";
        let own = pieces[source];
        if (explained && explained.words !== Data.columns.words[index]) {
          own = Text.pieces(text, explained.words[source], source ? explained.words[0].length - 1 : 0);
        }
        const given = hidden || source ? [] : doc.rationales.map(([start, end]) => ({ start, end, source: key }));
        Paint.draw(block, text, own, {
          weights,
          mine: Paint.ranges(state.rationales, key, text),
          aside: Paint.ranges(state.rationales.filter(span => Sides.aside(span, state, doc)), key, text),
          given: Paint.ranges(given, key, text),
          separate: Mode.active === index,
        });
        Search.highlight(block);
      });
      if (Mode.active === index) Mode.point();
      aloud.textContent = explained ? Paint.words(doc, explained) : "";
      const unread = hidden ? 0 : pieces.flat().filter(piece => piece.word < 0).reduce((sum, piece) => sum + piece.end - piece.start, 0);
      cut.hidden = !unread;
      cut.textContent = unread ? `Not read: ${Numbers.percent(unread / Data.length(index))} of the text, in gray. It is longer than the model reads.` : "";
      told(explained, hidden);
    };

    const told = (explained, hidden) => {
      const label = i => make("bdi", {}, Data.labels[i]);
      const parts = [];
      if (hidden) parts.push(make("span", { class: "quiet" }, "The model\u2019s view is hidden until you have marked."));
      else {
        // A model without probabilities gives a score.
        const score = explained && explained.target === doc.predicted && explained.contrast === null ? ` ${Numbers.signed(explained.logit)}` : "";
        const sure = doc.confidence === null ? score : ` ${Numbers.percent(doc.confidence)}`;
        const chosen = Data.chosen(index);
        if (!chosen.length) parts.push(make("span", { class: "predicted" }, "no label"), make("span", { class: "quiet" }, "the highest is ", label(doc.predicted), sure));
        else parts.push(make("span", { class: "predicted" }, ...chosen.flatMap((i, place) => [place ? ", " : "", label(i), i === doc.predicted ? sure : ""])));
        if (doc.given.length) {
          const wrong = Data.wrong(index);
          const names = doc.given.flatMap((i, place) => (place ? [", ", label(i)] : [label(i)]));
          parts.push(make("span", { class: wrong ? "outcome wrong" : "outcome" }, wrong ? "wrong, given " : "right, given ", ...names));
        }
        if (!explained) parts.push(make("span", { class: "quiet" }, "not explained for the label chosen above"));
        else if (switches.length) switches.forEach(([view, button]) => button.setAttribute("aria-pressed", String(view === explained.view)));
        else if (explained.target !== doc.predicted || explained.contrast !== null) {
          const against = explained.contrast === null ? [] : [" and not ", label(explained.contrast)];
          parts.push(make("span", { class: "quiet" }, against.length ? "why " : "colors: ", label(explained.target), ...against));
        }
      }
      said.replaceChildren(...parts);
      const sentences = explained ? explained.said : [];
      measured.hidden = !sentences.length;
      measured.replaceChildren(...sentences.map(part => (Array.isArray(part) ? make("bdi", {}, Text.visible(part[0])) : part)));
    };

    /** Ask what the answers leave open. */
    const ask = state => {
      const kind = Sides.question(state, doc);
      question.hidden = !kind;
      const answer = (text, patch) => make("button", { type: "button", on: { click: () => act(patch) } }, text);
      if (kind === "contradiction") {
        const [own, right] = [Data.chosen(index).map(i => Data.labels[i]), state.labels].map(names => names.map(Text.named).join(", "));
        const agreed = state.verdict === "agree";
        question.replaceChildren(
          `You ${agreed ? "agree" : "disagree"} with ${own}, and give ${right} as the right label. `,
          agreed ? answer(`${right} is right: disagree`, { verdict: "disagree" }) : answer(`${right} is right: agree`, { verdict: "agree" }),
          answer(agreed ? "Agree, and take the label back" : "Disagree, and take the label back", { labels: null }),
        );
      } else if (kind === "side") {
        const marks = side => state.rationales.map(span => (span.label === null ? { ...span, ...side } : span));
        const sides = Sides.all().filter(side => !side.against);
        const several = chooserOfSides("For which label?", side => act({ rationales: marks(side) }));
        several.show(Sides.NONE);
        const buttons = sides.map(side => answer(Sides.said(side), { rationales: marks(side) }));
        question.replaceChildren("What do the marked words speak for? ", ...(sides.length <= BUTTONS ? buttons : [several.element]));
      } else question.replaceChildren();
    };

    const update = () => {
      const state = Marks.of(doc.id);
      const hidden = Marks.hidden(doc.id);
      verdicts.forEach(([choice, button]) => {
        button.setAttribute("aria-pressed", String(state.verdict === choice));
        button.hidden = hidden && choice !== "unsure";
      });
      const right = state.labels || [];
      labels.forEach(([choice, button]) => button.setAttribute("aria-pressed", String(right.includes(choice))));
      if (chooser) {
        for (const option of chooser.options) {
          option.selected = option.value === "" ? !right.length : right.includes(Data.labels[Number(option.value)]);
        }
      }
      codes.forEach(([code, button]) => button.setAttribute("aria-pressed", String(state.reasons.includes(code))));
      side.show(Sides.current(index));
      side.element.hidden = Mode.active !== index;
      ask(state);
      if (document.activeElement !== comment) {
        comment.value = state.comment;
        if (state.comment) comment.hidden = false;
      }
      remark.setAttribute("aria-expanded", String(!comment.hidden));
      mode.setAttribute("aria-pressed", String(Mode.active === index));
      mode.textContent = Mode.active === index ? "Done marking" : "Mark words";
      reveal.hidden = !hidden;
      viewing.hidden = hidden || !switches.length;
      reveal.disabled = !Marks.marked(state);
      element.classList.toggle("marked", Marks.marked(state));
      element.classList.toggle("working", Mode.active === index);
      spans.replaceChildren(...state.rationales.map(span => chip(index, span)));
      spans.hidden = !state.rationales.length;
      const verdictText = VERDICTS.find(([choice]) => choice === state.verdict)?.[1];
      const labelText = state.labels === null ? null : `right label: ${state.labels.join(", ")}`;
      printed.textContent = [verdictText, labelText, ...state.reasons].filter(Boolean).join(", ");
      paint();
    };

    element.addEventListener("focusin", () => List.select(index));
    element.addEventListener("pointerdown", () => List.select(index));
    update();
    return {
      element, blocks, pieces, update, paint,
      select: on => element.classList.toggle("current", on),
      write: () => {
        comment.hidden = false;
        update();
        comment.focus();
      },
      chooser,
    };
  };

  const chip = (index, span) => {
    const words = span.text.length > 60 ? `${span.text.slice(0, 57)}\u2026` : span.text;
    const remove = make(
      "button",
      { type: "button", "aria-label": `Remove the mark of ${words}`, title: "Remove the mark", on: { click: () => Spans.remove(index, span) } },
      "\u00d7",
    );
    const side = chooserOfSides(`What ${words} speaks for`, picked => Spans.turn(index, span, picked || Sides.NONE));
    side.show(span);
    return make("li", {}, make("bdi", {}, Text.visible(words)), side.element, remove);
  };

  return { create };
})();
