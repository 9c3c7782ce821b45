// How each model is told from others: by colour, by shape, and by name.

const OTHER_COLOURS = ["--warm", "--green", "--ochre", "--pink"];

function modelLook(models, model) {
  const look = { base: ["--grey", "square"], initial: ["--grey", "circle"], posterior: ["--violet", "diamond"], final: ["--accent", "circle"] }[model.role];
  if (look) return { colour: `var(${look[0]})`, shape: look[1], dash: model.role === "initial" ? "2 4" : null };
  const place = models.filter((other) => other.role === "baseline").findIndex((other) => other.name === model.name);
  const dash = place < OTHER_COLOURS.length ? null : "6 3";
  return { colour: `var(${OTHER_COLOURS[place % OTHER_COLOURS.length]})`, shape: place % 2 ? "triangle" : "square", dash };
}

function modelTitle(model) {
  return model.role === "posterior" ? "Posterior" : shownName(model.name);
}

// A point of the model's shape, with the number it stands for.
function pointMark(look, x, y, value, series) {
  const attributes = { class: "mark", fill: look.colour, "data-value": value, "data-series": series };
  if (look.shape === "square") return s("rect", { ...attributes, x: x - 4.5, y: y - 4.5, width: 9, height: 9 });
  if (look.shape === "diamond") return s("path", { ...attributes, d: `M${x} ${y - 6.5}l6.5 6.5l-6.5 6.5l-6.5 -6.5z` });
  if (look.shape === "triangle") return s("path", { ...attributes, d: `M${x} ${y - 6}l6 10.5h-12z` });
  return s("circle", { ...attributes, cx: x, cy: y, r: 5 });
}

function intervalLines(accuracy) {
  return [`${percent(accuracy.accuracy)} right`, `95 % interval ${between(accuracy.low, accuracy.high)}`, `${plural(accuracy.questions, "question")}, ${plural(accuracy.samples, "response")}`];
}
