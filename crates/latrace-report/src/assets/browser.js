// Traces to read: pick a question, see its hint, its traces with every token's log-ratio, and the answers that followed.

// The order of a question's traces.
const reading = { order: "weight" };
const RAMP = [-4, -3, -2, -1, 0, 1, 2, 3, 4];

function drawBrowser(data) {
  const { traces } = data;
  const head = [h("h2", { id: "browser-title" }, "Read the traces")];
  if (data.missing.traces) return [...head, h("p", { class: "absent" }, data.missing.traces)];
  return [...head,
    h("p", { class: "lead" }, `The traces were written by ${traces.writer}.${howTracesAreWritten(data)} Colour shows where the two models differ, token by token. A trace’s log-ratio is the mean over its tokens of log π − log q, in nats: below zero where its writer, q, finds it likelier than the initial model, π. ${sampleOf(traces.questions.length, traces.of, traces.seed, "with traces")}`),
    browse({
      key: "traces",
      label: "Traces",
      sought: "questions, hints and answers",
      questions: traces.questions,
      searchable: (question) => [question.id, question.question, question.hint ?? "", ...answersTo(question).map((answer) => answer.text)],
      sorts: [
        ["run", "as in the run"],
        ["low", "least often right first", accuracyOf],
        ["high", "most often right first", (question) => opposite(accuracyOf(question))],
        ["weight", "most unequal weights first", (question) => opposite(heaviest(question))],
        ["difficulty", "easy ones first", (question) => question.difficulty],
      ],
      filters: [{ name: "verdict", title: "Answers", choices: ANSWER_CHOICES }, { name: "difficulty", title: "Difficulty", choices: difficulties(traces.questions) }],
      share: (question) => { const [right, judged] = rightOf(answersTo(question)); return judged ? `${right}/${judged} right` : ""; },
      view: (question, reopen) => questionView(traces, question, reopen),
    })];
}

// For a built-in task, what its symbols mean: said wherever traces or thoughts are shown.
function howTracesAreWritten({ questions }) {
  return questions?.trace ? ` ${questions.trace}` : "";
}

const ANSWER_CHOICES = [
  ["right", "all right", (question) => accuracyOf(question) === 1],
  ["mixed", "some right", (question) => accuracyOf(question) > 0 && accuracyOf(question) < 1],
  ["wrong", "none right", (question) => accuracyOf(question) === 0],
  ["undetermined", "some undetermined", (question) => answersTo(question).some((answer) => answer.verdict === "undetermined")],
];

function answersTo(question) {
  return question.traces.flatMap((trace) => trace.answers);
}

function accuracyOf(question) {
  return shareOf(rightOf(answersTo(question)));
}

function heaviest(question) {
  const weights = question.traces.map((trace) => trace.weight).filter((weight) => weight !== null);
  return weights.length ? Math.max(...weights) : null;
}

function opposite(value) {
  return value === null ? null : -value;
}

function questionView(traces, question, reopen) {
  const order = choice("order", "Traces", [["weight", "by weight"], ["number", "by number"]], reading.order, (value) => { reading.order = value; reopen(); byId("order").focus(); });
  const inOrder = [...question.traces];
  if (reading.order === "weight") inOrder.sort((a, b) => (b.weight ?? -1) - (a.weight ?? -1) || a.sample - b.sample);
  return [
    asked([["Name", question.id], ["Question", question.question], ["Hint", question.hint ?? "none"], ["Difficulty", question.difficulty]]),
    h("div", { class: "options" }, colourKey(traces.writer), order),
    ...inOrder.map((trace) => traceView(traces.vocabulary, trace)),
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
    trace.times > 1 ? h("span", { class: "times" }, `drawn ${trace.times} times`) : null,
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

// Why an answer is right or wrong, where the verdict alone does not say so.
function reasonText(reason) {
  return ["equal", "different"].includes(reason) ? null : reason?.replaceAll("_", " ");
}

function answersView(answers) {
  if (!answers.length) return null;
  return h("ul", { class: "answers", "aria-label": "Answers" }, answers.map((answer) => {
    const [sign, spoken] = VERDICTS[answer.verdict ?? "unjudged"] ?? VERDICTS.unjudged;
    const why = [spoken, reasonText(answer.reason), answer.ended ? null : "cut off"].filter(Boolean).join(", ");
    return h("li", { class: answer.verdict ?? "unjudged" }, h("span", { class: "sign", "aria-hidden": "true" }, sign), h("span", { class: "text" }, answer.text), h("span", { class: "why" }, answer.times > 1 ? `${why} (${answer.times} times)` : why));
  }));
}
