// Traces to read: pick a question, see its hint, its traces with every token's log-ratio, and the answers that followed.

const browsing = { id: null, order: "weight", search: "" };
const RAMP = [-4, -3, -2, -1, 0, 1, 2, 3, 4];

function drawBrowser(data) {
  const { traces } = data;
  const head = [h("h2", { id: "browser-title" }, "Read the traces")];
  if (data.missing.traces) return [...head, h("p", { class: "absent" }, data.missing.traces)];
  const all = traces.questions.length === traces.of;
  const choice = all ? `All ${plural(traces.of, "question")} with traces are here.` : `Here are ${count(traces.questions.length)} of ${plural(traces.of, "question")} with traces, drawn at random with seed ${traces.seed}: all of them would make the page too large.`;
  const finder = h("input", { type: "search", id: "search", value: browsing.search, autocomplete: "off", spellcheck: "false" });
  const found = h("p", { class: "found", role: "status" });
  const list = h("ul", { class: "list" });
  const reader = h("article", { class: "reader", "aria-label": "Question and traces" });
  const view = { traces, list, reader, found, shown: [] };
  finder.addEventListener("input", () => { browsing.search = finder.value; listQuestions(view); });
  finder.addEventListener("keydown", (event) => { if (event.key === "ArrowDown") { event.preventDefault(); list.querySelector("button")?.focus(); } });
  list.addEventListener("keydown", (event) => stepInList(event, list));
  listQuestions(view);
  const start = traces.questions.some((question) => question.id === browsing.id) ? browsing.id : traces.questions[0]?.id;
  openQuestion(view, start);
  return [...head,
    h("p", { class: "lead" }, `The traces were written by ${traces.writer}. Colour shows where the two models differ, token by token. ${choice}`),
    h("div", { class: "browse" }, h("div", { class: "finder" }, h("label", { for: "search" }, "Search questions, hints and answers"), finder, found, list), reader)];
}

function listQuestions(view) {
  const wanted = browsing.search.trim().toLowerCase();
  view.shown = view.traces.questions.filter((question) => !wanted || searchable(question).includes(wanted));
  view.found.textContent = wanted ? `${count(view.shown.length)} of ${plural(view.traces.questions.length, "question")}` : plural(view.traces.questions.length, "question");
  view.list.replaceChildren(...view.shown.map((question) => {
    const [right, judged] = rightOf(question.traces.flatMap((trace) => trace.answers));
    const button = h("button", { type: "button", "data-id": question.id, "aria-current": question.id === browsing.id ? "true" : null },
      h("span", { class: "id" }, question.id), h("span", { class: "share" }, judged ? `${right}/${judged} right` : ""), h("span", { class: "text" }, question.question));
    button.addEventListener("click", () => openQuestion(view, question.id));
    return h("li", null, button);
  }));
}

function searchable(question) {
  const answers = question.traces.flatMap((trace) => trace.answers.map((answer) => answer.text));
  return [question.id, question.question, question.hint ?? "", ...answers].join("\n").toLowerCase();
}

function rightOf(answers) {
  const sum = (some) => some.reduce((total, answer) => total + answer.times, 0);
  const judged = answers.filter((answer) => answer.verdict !== null);
  return [sum(judged.filter((answer) => answer.verdict === "correct")), sum(judged)];
}

function stepInList(event, list) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const buttons = [...list.querySelectorAll("button")];
  buttons[buttons.indexOf(document.activeElement) + step]?.focus();
}

function openQuestion(view, id) {
  browsing.id = id;
  for (const button of view.list.querySelectorAll("button")) {
    if (button.dataset.id === id) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  const questions = view.traces.questions;
  const at = questions.findIndex((question) => question.id === id);
  if (at < 0) return;
  const go = (to) => {
    openQuestion(view, questions[to].id);
    const buttons = view.reader.querySelectorAll(".step");
    (buttons[to < at ? 0 : 1].disabled ? buttons[to < at ? 1 : 0] : buttons[to < at ? 0 : 1]).focus();
  };
  const previous = h("button", { type: "button", class: "step", disabled: at === 0 ? "" : null }, "← Previous");
  const next = h("button", { type: "button", class: "step", disabled: at === questions.length - 1 ? "" : null }, "Next →");
  previous.addEventListener("click", () => go(at - 1));
  next.addEventListener("click", () => go(at + 1));
  view.reader.replaceChildren(
    h("div", { class: "steps" }, h("p", { role: "status" }, `Question ${at + 1} of ${questions.length}`), previous, next),
    ...questionView(view, questions[at]));
}

function questionView(view, question) {
  const entries = [["Name", question.id], ["Question", question.question], ["Hint", question.hint ?? "none"], ["Difficulty", question.difficulty]];
  const order = h("select", { id: "order" }, [["weight", "by weight"], ["number", "by number"]].map(([value, text]) => h("option", { value, selected: value === browsing.order ? "" : null }, text)));
  order.addEventListener("change", () => { browsing.order = order.value; openQuestion(view, question.id); byId("order").focus(); });
  const traces = [...question.traces];
  if (browsing.order === "weight") traces.sort((a, b) => (b.weight ?? -1) - (a.weight ?? -1) || a.sample - b.sample);
  return [
    h("dl", { class: "asked" }, entries.filter(([, text]) => text !== null).map(([name, text]) => [h("dt", null, name), h("dd", null, text)])),
    h("div", { class: "options" }, colourKey(view.traces.writer), h("label", { for: "order" }, "Traces", order)),
    ...traces.map((trace) => traceView(view.traces.vocabulary, trace)),
  ];
}

function colourKey(writer) {
  const ramp = h("span", { class: "ramp", "aria-hidden": "true" }, RAMP.map((level) => h("span", { class: levelClass(level) })));
  return h("div", { class: "key" }, h("span", null, `likelier to ${writer}`), ramp, h("span", null, "likelier to the initial model"));
}

function levelClass(level) {
  return level < 0 ? `n${-level}` : level > 0 ? `p${level}` : null;
}

// Steps of colour, in nats: 0.1, 0.5, 1.5, 3.
function levelOf(centinats) {
  const size = Math.abs(centinats);
  const level = size < 10 ? 0 : size < 50 ? 1 : size < 150 ? 2 : size < 300 ? 3 : 4;
  return centinats < 0 ? -level : level;
}

function traceView(vocabulary, trace) {
  const [right, judged] = rightOf(trace.answers);
  const bar = h("i", null);
  bar.style.setProperty("width", `${(trace.weight ?? 0) * 100}%`);
  const facts = [
    trace.weight === null ? h("span", null, "no weight") : h("span", null, h("span", { class: "weight", "aria-hidden": "true" }, bar), "weight ", h("b", null, decimal(trace.weight, 3))),
    trace.log_ratio === null ? null : h("span", null, "log-ratio ", h("b", null, decimal(trace.log_ratio, 3))),
    judged ? h("span", null, "answers right ", h("b", null, `${right}/${judged}`)) : null,
    h("span", null, plural(trace.length, "token")),
    trace.closed ? null : h("span", null, h("b", null, "cut off before its end")),
    trace.chosen > 0 ? h("span", { class: "chosen" }, "chosen") : null,
  ];
  return h("section", { class: "trace", "data-sample": trace.sample, "aria-label": `Trace ${trace.sample + 1}` }, h("header", null, h("h3", null, `Trace ${trace.sample + 1}`), facts), tokensView(vocabulary, trace), answersView(trace.answers));
}

// One stop of the Tab key for all tokens of a trace; arrow keys step through them.
function tokensView(vocabulary, trace) {
  const tip = h("span", { class: "tip", hidden: "" });
  const said = h("span", { class: "visually-hidden", role: "status" });
  const spans = trace.tokens.map((token, t) => {
    const text = vocabulary[token];
    const level = trace.centinats.length ? levelClass(levelOf(trace.centinats[t])) : null;
    return h("span", { class: ["t", level, text === "" ? "void" : null].filter(Boolean).join(" ") }, text === "" ? "▫" : text);
  });
  const rest = trace.length - trace.tokens.length;
  const holder = h("div", { class: "tokens", tabindex: "0", role: "group", "aria-label": `Tokens of trace ${trace.sample + 1}. Arrow keys step through them.` }, spans, rest > 0 ? h("span", { class: "void" }, ` … ${plural(rest, "more token")}`) : null, tip, said);
  let at = -1;
  const show = (to, aloud) => {
    spans[at]?.classList.remove("at");
    at = to;
    tip.hidden = at < 0;
    if (at < 0) return;
    spans[at].classList.add("at");
    const difference = trace.centinats.length ? `log π − log q = ${decimal(trace.centinats[at] / 100, 2)}` : "not scored";
    tip.replaceChildren(h("b", null, `Token ${at + 1}: “${vocabulary[trace.tokens[at]]}”`), h("span", null, difference));
    const [place, edge] = [spans[at].getBoundingClientRect(), holder.getBoundingClientRect()];
    tip.style.setProperty("left", `${Math.max(0, Math.min(place.left - edge.left, edge.width - tip.offsetWidth))}px`);
    tip.style.setProperty("top", `${place.bottom - edge.top + 6}px`);
    if (aloud) said.textContent = `${vocabulary[trace.tokens[at]]}, ${difference}`;
  };
  holder.addEventListener("pointermove", (event) => { const to = spans.indexOf(event.target); if (to !== at) show(to, false); });
  holder.addEventListener("pointerleave", () => show(-1, false));
  holder.addEventListener("blur", () => show(-1, false));
  holder.addEventListener("keydown", (event) => {
    if (event.key === "Escape") show(-1, false);
    const to = { ArrowRight: at + 1, ArrowLeft: Math.max(at, 1) - 1, Home: 0, End: spans.length - 1 }[event.key];
    if (to === undefined || !spans.length) return;
    event.preventDefault();
    show(Math.min(to, spans.length - 1), true);
  });
  return holder;
}

const VERDICTS = { correct: ["✓", "right"], wrong: ["✗", "wrong"], undetermined: ["?", "undetermined"], unjudged: ["·", "not judged"] };

function answersView(answers) {
  if (!answers.length) return null;
  return h("ul", { class: "answers", "aria-label": "Answers" }, answers.map((answer) => {
    const [sign, spoken] = VERDICTS[answer.verdict ?? "unjudged"] ?? VERDICTS.unjudged;
    const why = [spoken, answer.reason?.replaceAll("_", " "), answer.ended ? null : "cut off"].filter(Boolean).join(", ");
    return h("li", { class: answer.verdict ?? "unjudged" }, h("span", { class: "sign", "aria-hidden": "true" }, sign), h("span", { class: "text" }, answer.text), h("span", { class: "why" }, answer.times > 1 ? `${why} (${answer.times} times)` : why));
  }));
}
