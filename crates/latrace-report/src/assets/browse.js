// A list of questions to search, sort and filter, beside a reader for the one that is open.

// What is open, sought and chosen in each list: it stays so when data changes.
const browsing = new Map();

// `of` has `key`, `label`, `questions`, `searchable(question)`, `sorts` ([name, title, value of a question]), `filters`
// ({name, title, choices: [value, title, test]}), `share(question)` and `view(question, reopen)`.
function browse(of) {
  const state = browsing.get(of.key) ?? { id: null, search: "", sort: of.sorts[0][0], chosen: {} };
  browsing.set(of.key, state);
  const found = h("p", { class: "found", role: "status" });
  const list = h("ul", { class: "list" });
  const reader = h("article", { class: "reader", "aria-label": `${of.label}: the question that is open` });
  const view = { of, state, list, reader, found, shown: [] };
  const finder = h("input", { type: "search", id: `${of.key}-search`, value: state.search, autocomplete: "off", spellcheck: "false" });
  finder.addEventListener("input", () => { state.search = finder.value; listQuestions(view); });
  finder.addEventListener("keydown", (event) => { if (event.key === "ArrowDown") { event.preventDefault(); list.querySelector("button")?.focus(); } });
  list.addEventListener("keydown", (event) => stepInList(event, list));
  const sort = choice(`${of.key}-sort`, "Sort", of.sorts, state.sort, (value) => { state.sort = value; listQuestions(view); });
  const filters = of.filters.filter(({ choices }) => choices.length > 1).map(({ name, title, choices }) => choice(`${of.key}-${name}`, title, [["", "all"], ...choices], state.chosen[name] ?? "", (value) => { state.chosen[name] = value; listQuestions(view); }));
  listQuestions(view);
  openQuestion(view, of.questions.some((question) => question.id === state.id) ? state.id : of.questions[0]?.id);
  return h("div", { class: "browse" },
    h("div", { class: "finder" }, h("label", { for: `${of.key}-search` }, `Search ${of.sought}`), finder, h("div", { class: "choices" }, sort, filters), found, list), reader);
}

function choice(id, title, options, chosen, act) {
  const select = h("select", { id }, options.map(([value, text]) => h("option", { value, selected: value === chosen ? "" : null }, text)));
  select.addEventListener("change", () => act(select.value));
  return h("label", { for: id }, h("span", null, title), select);
}

function listQuestions(view) {
  const { of, state } = view;
  const wanted = state.search.trim().toLowerCase();
  const tests = of.filters.map(({ name, choices }) => choices.find(([value]) => value === state.chosen[name])?.[2]).filter(Boolean);
  if (wanted) tests.push((question) => of.searchable(question).join("\n").toLowerCase().includes(wanted));
  view.shown = sorted(of.questions.filter((question) => tests.every((test) => test(question))), of.sorts.find(([name]) => name === state.sort)?.[2]);
  view.found.textContent = tests.length ? `${count(view.shown.length)} of ${plural(of.questions.length, "question")}` : plural(of.questions.length, "question");
  view.list.replaceChildren(...view.shown.map((question) => {
    const button = h("button", { type: "button", "data-id": question.id, "aria-current": question.id === state.id ? "true" : null },
      h("span", { class: "id" }, question.id), h("span", { class: "share" }, of.share(question)), h("span", { class: "text" }, question.question));
    button.addEventListener("click", () => openQuestion(view, question.id));
    return h("li", null, button);
  }));
  if (view.reader.firstChild) openQuestion(view, state.id);
}

// Without a value, the run's order; what has no value comes last.
function sorted(questions, valueOf) {
  if (!valueOf) return questions;
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
  return questions.map((question) => [valueOf(question), question]).sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : compare(a, b))).map(([, question]) => question);
}

function stepInList(event, list) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const buttons = [...list.querySelectorAll("button")];
  buttons[buttons.indexOf(document.activeElement) + step]?.focus();
}

// Opens a question; the buttons beside it go through the questions as they are listed.
function openQuestion(view, id) {
  const { of, state } = view;
  state.id = id;
  for (const button of view.list.querySelectorAll("button")) {
    if (button.dataset.id === id) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  const question = of.questions.find((one) => one.id === id);
  if (!question) return;
  const at = view.shown.indexOf(question);
  const step = (text, to) => {
    const button = h("button", { type: "button", class: "step", disabled: view.shown[to] ? null : "" }, text);
    button.addEventListener("click", () => {
      openQuestion(view, view.shown[to].id);
      const steps = [...view.reader.querySelectorAll(".step")];
      const same = steps[to < at ? 0 : 1];
      (same.disabled ? steps[to < at ? 1 : 0] : same).focus();
    });
    return button;
  };
  const place = at < 0 ? "Not among the questions that are listed" : `Question ${count(at + 1)} of ${count(view.shown.length)}`;
  view.reader.replaceChildren(
    h("div", { class: "steps" }, h("p", { role: "status" }, place), step("← Previous", at < 0 ? 0 : at - 1), step("Next →", at + 1)),
    ...of.view(question, () => openQuestion(view, id)));
}

// Right ones of those that were judged, by how often each occurred.
function rightOf(answers) {
  const sum = (some) => some.reduce((total, answer) => total + answer.times, 0);
  const judged = answers.filter((answer) => answer.verdict !== null);
  return [sum(judged.filter((answer) => answer.verdict === "correct")), sum(judged)];
}

function shareOf([right, judged]) {
  return judged ? right / judged : null;
}

// The difficulties that questions have, as choices of a filter.
function difficulties(questions) {
  const names = [...new Set(questions.map((question) => question.difficulty).filter((name) => name !== null))];
  return names.sort((a, b) => a.localeCompare(b, "en", { numeric: true })).map((name) => [name, name, (question) => question.difficulty === name]);
}

function asked(entries) {
  return h("dl", { class: "asked" }, entries.filter(([, text]) => text !== null).map(([name, text]) => [h("dt", null, name), h("dd", null, text)]));
}

function sampleOf(shown, of, seed, what) {
  return shown === of ? `All ${plural(of, "question")} ${what} are here.` : `Here are ${count(shown)} of ${plural(of, "question")} ${what}, drawn at random with seed ${seed}: all of them would make the page too large.`;
}
