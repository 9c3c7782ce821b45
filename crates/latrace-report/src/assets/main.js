// From data to page, again whenever data changes.

const SECTIONS = [
  ["summary", drawSummary, (data) => [data.run, data.findings]],
  ["progress", drawProgress, (data) => [data.run.finished, data.stages]],
  ["contents", drawContents, () => []],
  ["results", drawResults, (data) => [data.run, data.questions, data.models, data.comparisons, data.diagnostics, data.missing]],
  ["responses", drawResponses, (data) => [data.responses, data.questions, data.missing]],
  ["signs", drawSigns, (data) => [data.diagnostics, data.missing]],
  ["learning", drawLearning, (data) => [data.training, data.missing]],
  ["weighing", drawWeighing, (data) => [data.funnel, data.verdicts, data.weights, data.bounds, data.lengths, data.emphasis, data.missing]],
  ["browser", drawBrowser, (data) => [data.traces, data.questions, data.missing]],
  ["costs", drawCosts, (data) => [data.run, data.stages]],
  ["recipe", drawRecipe, (data) => [data.run]],
];
const drawn = new Map();

function name(methods) {
  titles.clear();
  methods.forEach((method) => titles.set(method.name, method.title));
}

function show(data) {
  name(data.run.methods);
  for (const [id, draw, partOf] of SECTIONS) {
    const part = JSON.stringify(partOf(data));
    if (drawn.get(id) === part) continue;
    drawn.set(id, part);
    byId(id).replaceChildren(...draw(data).filter(Boolean));
  }
}

// The theme: the system's until the reader says otherwise.
function setUpTheme() {
  const button = byId("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const name = () => { button.textContent = isDark() ? "Light theme" : "Dark theme"; };
  try {
    const kept = localStorage.getItem("latrace-theme");
    if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  } catch { /* Pages from files may keep nothing; the system's theme then holds. */ }
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("latrace-theme", root.dataset.theme); } catch { /* As above. */ }
    name();
  });
  system.addEventListener("change", name);
  name();
}

setUpTheme();
const embedded = JSON.parse(byId("data").textContent);
if (embedded.runs) {
  showSeveral(embedded);
} else {
  show(embedded);
  follow();
}
