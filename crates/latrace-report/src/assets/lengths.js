// Length of traces against log π − log q, as a density.

function lengthsFigure(data) {
  const lengths = data.lengths;
  const title = "Does length decide the weight?";
  if (!lengths) return figure("lengths", title, null, { absent: data.missing.lengths });
  const summed = cellTable("Sum over tokens: cells that hold traces", "Nats", lengths.summed, 1);
  const mean = cellTable("Mean over tokens: cells that hold traces", "Nats per token", lengths.mean, 3);
  const panel = (density, data, name, unit, digits) => h("div", null,
    h("h4", null, `${name} `, h("span", null, density.correlation === null ? "no rank correlation" : `rank correlation ${decimal(density.correlation, 2)}`)),
    chart(`Length of traces against log-ratio, ${name.toLowerCase()}`, data, (width) => drawDensity(density, unit, digits, width)));
  return figure("lengths", title, `Length of ${plural(lengths.traces, "trace")} in tokens, against how much likelier the initial model finds a trace than its writer did (log π − log q). The stronger a cell’s colour, the more traces it holds. A sum over tokens grows with length whatever the trace is worth; a mean should not.`, {
    wide: true,
    body: h("div", { class: "panels" }, panel(lengths.summed, summed, "Sum over tokens", "nats", 1), panel(lengths.mean, mean, "Mean over tokens", "nats per token", 2)),
    note: "The few traces beyond an end of the vertical axis are counted at that end.",
    tables: [summed, mean],
  });
}

// Cells that hold anything, each with its ends.
function cells(density) {
  const steps = [(density.x[1] - density.x[0]) / density.counts[0].length, (density.y[1] - density.y[0]) / density.counts.length];
  return density.counts.flatMap((row, j) => row.map((number, i) => ({
    number,
    x: [density.x[0] + i * steps[0], density.x[0] + (i + 1) * steps[0]],
    y: [density.y[0] + j * steps[1], density.y[0] + (j + 1) * steps[1]],
  }))).filter((cell) => cell.number > 0);
}

function cellTable(caption, unit, density, digits) {
  const [ofTokens, ofNats] = [1, digits].map((places) => (value) => decimal(value, places));
  const rows = cells(density).map((cell) => [...cell.x, ...cell.y, cell.number]);
  return numbers(caption, [["Tokens, from", ofTokens], ["to", ofTokens], [`${unit}, from`, ofNats], ["to", ofNats], ["Traces", count]], rows);
}

function drawDensity(density, unit, digits, width) {
  const rows = ticks(density.y[0], density.y[1], 5);
  const area = box(width, 260, { left: axisRoom(rows, plainTicks(rows)), right: 10, top: 10, bottom: 42 });
  const x = scale(density.x[0], density.x[1], area.left, area.right);
  const y = scale(density.y[0], density.y[1], area.bottom, area.top);
  const columns = ticks(density.x[0], density.x[1], width < 360 ? 4 : 6);
  const full = cells(density);
  const most = Math.max(...full.map((cell) => cell.number), 1);
  const svg = drawing(area, yAxis(area, y, rows, plainTicks(rows)), xAxis(area, x, columns, plainTicks(columns), "tokens"));
  const marks = full.map((cell) => {
    const frame = { x: x(cell.x[0]), y: y(cell.y[1]), width: x(cell.x[1]) - x(cell.x[0]), height: y(cell.y[0]) - y(cell.y[1]) };
    // A cell of one trace must be seen beside one of thousands.
    const strength = 0.14 + (0.86 * Math.log1p(cell.number)) / Math.log1p(most);
    svg.append(s("rect", { class: "mark", ...frame, width: Math.max(frame.width - 0.5, 0.5), height: Math.max(frame.height - 0.5, 0.5), fill: "var(--accent)", "fill-opacity": strength.toFixed(3), "data-value": cell.number }));
    return { x: frame.x + frame.width / 2, y: frame.y + frame.height / 2, frame, title: plural(cell.number, "trace"), lines: [`${decimal(cell.x[0], 1)} to ${decimal(cell.x[1], 1)} tokens`, `${decimal(cell.y[0], digits)} to ${decimal(cell.y[1], digits)} ${unit}`] };
  });
  if (density.y[0] < 0 && density.y[1] > 0) svg.append(s("line", { x1: area.left, x2: area.right, y1: y(0), y2: y(0), stroke: "var(--soft)", "stroke-dasharray": "3 3" }));
  return { svg, marks };
}
