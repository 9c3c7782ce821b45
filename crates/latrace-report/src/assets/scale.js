// From numbers to places: scales, round ticks, axes, and labels that keep their distance.

function scale(low, high, from, to) {
  const span = high - low || 1;
  return (value) => from + ((value - low) / span) * (to - from);
}

// About so many round numbers that lie within [low, high].
function ticks(low, high, wanted) {
  const rough = (high - low || 1) / Math.max(wanted, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

// The least round number that is at least `value`.
function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].map((factor) => factor * power).find((candidate) => candidate >= value * (1 - 1e-9));
}

// Round ticks from 0 on, the last of which is at least `value`.
function ticksUpTo(value, wanted) {
  const found = ticks(0, value > 0 ? value : 1, wanted);
  if (found.at(-1) < value * (1 - 1e-9)) found.push(Number((found.at(-1) + found[1]).toPrecision(12)));
  return found;
}

// Digits after the point that tell these numbers apart.
function digitsOf(values) {
  const steps = values.slice(1).map((value, i) => Math.abs(value - values[i])).filter((step) => step > 0);
  const least = steps.length ? Math.min(...steps) : Math.abs(values[0] ?? 1) || 1;
  const power = Math.floor(Math.log10(least) + 1e-9);
  // 0.075 − 0.05 is a little less than 0.025.
  const isQuarter = Math.abs(least / 10 ** power - 2.5) < 1e-6;
  return Math.max(0, Math.min(6, (isQuarter ? 1 : 0) - power));
}

function plainTicks(values) {
  const digits = digitsOf(values);
  return (value) => decimal(value, digits);
}

// The sides of a plot within a drawing of this width.
function box(width, height, { left = 44, right = 12, top = 12, bottom = 30 } = {}) {
  return { left, right: width - right, top, bottom: height - bottom, width, height };
}

// Room at the left for the numbers of a vertical axis: what sticks out of a drawing is cut on paper.
function axisRoom(values, format) {
  return Math.max(46, 16 + 7.5 * Math.max(...values.map((value) => format(value).length)));
}

function xAxis(area, x, values, format, label) {
  const group = s("g", { class: "axis" }, s("line", { class: "base", x1: area.left, x2: area.right, y1: area.bottom, y2: area.bottom }));
  for (const value of values) {
    group.append(s("line", { x1: x(value), x2: x(value), y1: area.bottom, y2: area.bottom + 4 }));
    // Near an edge of the drawing a number would be cut in half.
    const anchor = x(value) < 16 ? "start" : x(value) > area.width - 16 ? "end" : "middle";
    group.append(s("text", { x: x(value), y: area.bottom + 18, "text-anchor": anchor }, format(value)));
  }
  if (label) group.append(s("text", { x: area.right, y: area.bottom + 35, "text-anchor": "end" }, label));
  return group;
}

// A vertical line over the plot, or, where text stands between the rows, a piece of it beside the mark of each row.
function verticals(area, x, attributes, rows) {
  const pieces = rows ? rows.map((y) => [y - 10, y + 14]) : [[area.top, area.bottom]];
  return pieces.map(([y1, y2]) => s("line", { ...attributes, x1: x, x2: x, y1, y2 }));
}

function yAxis(area, y, values, format) {
  const group = s("g", { class: "axis" });
  for (const value of values) {
    group.append(s("line", { class: "gridline", x1: area.left, x2: area.right, y1: y(value), y2: y(value) }));
    group.append(s("text", { x: area.left - 8, y: y(value) + 4, "text-anchor": "end" }, format(value)));
  }
  return group;
}

// Places of labels as near to where they are wanted as `distance` between them allows, kept above `lowest`.
function spread(wanted, distance, lowest) {
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a] - wanted[b]);
  const placed = [...wanted];
  order.forEach((at, i) => { if (i > 0) placed[at] = Math.max(placed[at], placed[order[i - 1]] + distance); });
  for (let i = order.length - 1, limit = lowest; i >= 0; i--) {
    placed[order[i]] = Math.min(placed[order[i]], limit);
    limit = placed[order[i]] - distance;
  }
  return placed;
}

function path(places) {
  return places.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
}
