// Which questions each method learns from: its weight of a question against the accuracy on it, over the accuracies that there are.

const METHOD_LOOKS = { variational: ["var(--accent)", null], rft: ["var(--green)", null], "binary-rl": ["var(--warm)", "7 5"], grpo: ["var(--pink)", "2 3"] };
// GRPO's weight has no limit; the plot has.
const HEAVIEST = 3;

function emphasisFigure(data) {
  const emphasis = data.emphasis;
  const title = "Which questions each method learns from";
  if (!emphasis) return figure("emphasis", title, null, { absent: data.missing.emphasis });
  const shares = numbers("Share of the gradient by the accuracy of questions", ["Method", ["Hard: below 1/3", percent], ["Medium", percent], ["Easy: from 2/3", percent]], emphasis.curves.map((curve) => [curve.title, ...curve.shares]));
  const threeDigits = (value) => decimal(value, 3);
  const weights = numbers("Weight by accuracy", [["Accuracy", (value) => decimal(value, 2)], ...emphasis.curves.map((curve) => [curve.title, threeDigits])], emphasis.curves[0].points.map(([accuracy], i) => [accuracy, ...emphasis.curves.map((curve) => curve.points[i][1])]));
  const accuracies = bins("Accuracies of the run’s questions", ["Accuracy", "Questions"], emphasis.accuracies, 2);
  return figure("emphasis", title, `Above, the weight that a question of some accuracy gets; by theory, whether or not the method was run here. Rejection sampling (RFT) and reinforcement learning with rewards of 1 and 0 (binary RL) weigh it by that accuracy and share one line; GRPO, which divides rewards by their spread within a question, by √(p/(1−p)). Below, how many of the run’s questions have that accuracy, measured on ${emphasis.of}.`, {
    wide: true,
    body: [h("h4", { class: "over" }, "Weight of a question"), chart("Weight of a question by its accuracy", weights, (width) => drawEmphasis(emphasis.curves, width)), h("h4", { class: "over" }, "Questions in each bin"), chart("Accuracies of the run’s questions", accuracies, (width) => drawHistogram(emphasis.accuracies, { name: "Accuracy", unit: "question", digits: 2, height: 150, colour: "var(--grey)", label: "accuracy on a question, p" }, width))],
    tables: [shares, weights, accuracies],
  });
}

function drawEmphasis(curves, width) {
  const area = box(width, 250, { left: 46, right: 10, top: 16, bottom: 28 });
  const x = scale(0, 1, area.left, area.right);
  const y = scale(0, HEAVIEST, area.bottom, area.top);
  const svg = drawing(area, yAxis(area, y, [0, 1, 2, 3], count), xAxis(area, x, [0, 0.2, 0.4, 0.6, 0.8, 1], (value) => decimal(value, 1)));
  const marks = [];
  for (const curve of curves) {
    const [colour, dash] = METHOD_LOOKS[curve.name] ?? ["var(--grey)", null];
    // At the very ends a curve may jump to 0: never right, or always.
    const shown = curve.points.filter(([accuracy, weight]) => weight <= HEAVIEST && (weight > 0 || (accuracy > 0 && accuracy < 1)));
    svg.append(s("path", { class: "mark", d: path(shown.map(([accuracy, weight]) => [x(accuracy), y(weight)])), fill: "none", stroke: colour, "stroke-width": curve.name === "variational" ? 2.5 : 2, "stroke-dasharray": dash, "data-series": curve.name, "data-points": curve.points.length }));
    for (const [accuracy, weight] of shown.filter((_, i) => i % 4 === 3)) marks.push({ x: x(accuracy), y: y(weight), title: `${curve.title} at accuracy ${decimal(accuracy, 2)}`, lines: [`weight ${decimal(weight, 3)}`] });
  }
  const label = (text, accuracy, weight, colour, anchor) => s("text", { x: x(accuracy), y: y(weight), fill: colour, "text-anchor": anchor }, text);
  svg.append(label(width < 420 ? "Variational: 1" : "Variational: 1 for every question that is ever right", 0.02, 1.1, "var(--accent)", "start"), label("GRPO", width < 420 ? 0.79 : 0.845, 2.45, "var(--pink)", "end"), label("RFT, binary RL", 0.5, 0.3, "var(--green)", "start"));
  return { svg, marks };
}
