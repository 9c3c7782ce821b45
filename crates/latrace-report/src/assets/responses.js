// Answers to test questions before and after training, side by side.

const MODEL_NAMES = { base: "Base model", initial: "Initial model", final: "Final model" };

function drawResponses(data) {
  const { responses } = data;
  const head = [h("h2", { id: "responses-title" }, "Before and after")];
  if (data.missing.responses) return [...head, h("p", { class: "absent" }, data.missing.responses)];
  const last = responses.models.length - 1;
  const before = (question) => shareOf(rightOf(question.responses[0]));
  const after = (question) => shareOf(rightOf(question.responses[last]));
  const change = (question) => (before(question) === null || after(question) === null ? null : before(question) - after(question));
  return [...head,
    h("p", { class: "lead" }, `What the models answer to the same test questions: the thought as it was written, the answer, and the verdict on it.${howTracesAreWritten(data)} ${sampleOf(responses.questions.length, responses.of, responses.seed, "of the evaluation")}`),
    browse({
      key: "answers",
      label: "Responses",
      sought: "questions and responses",
      questions: responses.questions,
      searchable: (question) => [question.id, question.question, question.answer ?? "", ...question.responses.flat().flatMap((response) => [response.thought, response.answer ?? ""])],
      sorts: [
        ["run", "as in the run"],
        ["gain", "largest gain first", change],
        ["loss", "largest loss first", (question) => opposite(change(question))],
        ["low", "least often right at last first", after],
        ["difficulty", "easy ones first", (question) => question.difficulty],
      ],
      filters: [
        { name: "change", title: "Change", choices: [["better", "better than before", (question) => change(question) < 0], ["same", "as before", (question) => change(question) === 0], ["worse", "worse than before", (question) => change(question) > 0]] },
        { name: "verdict", title: "At last", choices: [["right", "all right", (question) => after(question) === 1], ["mixed", "some right", (question) => after(question) > 0 && after(question) < 1], ["wrong", "none right", (question) => after(question) === 0]] },
        { name: "difficulty", title: "Difficulty", choices: difficulties(responses.questions) },
      ],
      share: (question) => question.responses.map((of) => { const [right, judged] = rightOf(of); return judged ? `${right}/${judged}` : MISSING; }).join(" → "),
      view: (question) => [
        asked([["Name", question.id], ["Question", question.question], ["A right answer", question.answer], ["Difficulty", question.difficulty]]),
        h("div", { class: "models" }, responses.models.map((name, i) => modelView(name, question.responses[i]))),
      ],
    })];
}

function modelView(name, responses) {
  const [right, judged] = rightOf(responses);
  return h("section", { class: "model", "aria-label": MODEL_NAMES[name] ?? shownName(name) },
    h("header", null, h("h3", null, MODEL_NAMES[name] ?? shownName(name)), h("span", null, judged ? `${right} of ${judged} right` : "no responses")),
    h("ol", { class: "responses" }, responses.map(responseView)));
}

function responseView(response) {
  const [sign, spoken] = VERDICTS[response.verdict] ?? VERDICTS.unjudged;
  const why = [spoken, reasonText(response.reason), response.truncated ? "cut at the most tokens allowed" : null, response.times > 1 ? `${response.times} times` : null].filter(Boolean).join(", ");
  return h("li", { class: response.verdict },
    h("p", { class: "thought" }, response.thought || "(no thought)"),
    h("p", { class: "given" }, h("span", { class: "sign", "aria-hidden": "true" }, sign), h("span", { class: "text" }, response.answer ?? "no answer"), h("span", { class: "why" }, why)));
}
