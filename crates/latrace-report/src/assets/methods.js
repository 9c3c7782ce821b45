// What each method is, how well it does, and what it took: what a fair comparison needs.

function methodsFigure(data) {
  const { methods } = data.run;
  const { costs } = data.diagnostics;
  const measured = data.models.filter((model) => model.role === "final" || model.role === "baseline");
  const names = [...new Set([...measured.map((model) => model.name), ...Object.keys(costs)])];
  if (!names.length) return null;
  const own = (name) => (name === "final" ? 0 : 1);
  const rows = names.sort((a, b) => own(a) - own(b)).map((name) => [shownName(name), ...methodCells(measured.find((model) => model.name === name)?.overall, costs[name])]);
  const byMethod = numbers("Accuracy, time and tokens by method", METHOD_COLUMNS, rows);
  const ceiling = methods.filter((method) => method.is_ceiling && names.includes(method.name)).map((method) => ` ${method.title}: no competing method, but what the best traces would lead to.`).join("");
  return figure("methods", "What each method reaches, and what it took", `Costs are those of all stages that lead to a method’s final model, without evaluations; a stage that methods share counts for each of them. Tokens drawn are those of traces and answers, tokens trained on those of all updates, prompts included.${ceiling}`, {
    wide: true,
    body: [table(byMethod), saving(byMethod.caption, byMethod), glossary(methods.filter(({ name }) => names.includes(name)))],
  });
}

const METHOD_COLUMNS = ["Method", ["Right", percent], ["Low", percent], ["High", percent], ["Working time", duration], ["Tokens drawn", count], ["Tokens trained on", count]];

function methodCells(overall, cost) {
  return [overall?.accuracy, overall?.low, overall?.high, cost?.seconds, cost?.tokens_drawn, cost?.tokens_trained];
}

// Names spelt out.
function glossary(methods) {
  return h("dl", { class: "glossary" }, methods.map(({ title, long, clause, settings }) => h("div", null,
    h("dt", null, title),
    h("dd", null, `${capital(long)}: ${clause}.`, settings ? [" Here with ", h("code", null, settings), "."] : null))));
}
