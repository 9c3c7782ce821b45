// Exact numbers: tables of raw values with the format of each column, on the page and as CSV.

// `columns` are titles, or titles with the format of their values; a missing value is null.
function numbers(caption, columns, rows) {
  return { caption, columns: columns.map((column) => (Array.isArray(column) ? column : [column, String])), rows };
}

function table({ caption, columns, rows }) {
  const shown = (value, i) => (value === null || value === undefined ? MISSING : columns[i][1](value));
  const look = (i) => (columns[i][1] === String ? "text" : null);
  const cells = (row) => row.map((value, i) => (i ? h("td", { class: look(i), "data-column": columns[i][0] }, shown(value, i)) : h("th", { scope: "row" }, shown(value, i))));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", null, h("caption", null, caption),
      h("thead", null, h("tr", null, columns.map(([title], i) => h("th", { scope: "col", class: look(i) }, title)))),
      h("tbody", null, rows.map((row) => h("tr", null, cells(row))))));
}

// RFC 4180: what holds a comma, a quote or a line break is quoted.
function csvOf({ columns, rows }) {
  const cell = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const line = (cells) => `${cells.map(cell).join(",")}\r\n`;
  return [columns.map(([title]) => title), ...rows].map(line).join("");
}

// The drawing as a file of its own: the page's style and colours are written into it.
function svgOf(drawn) {
  const copy = drawn.cloneNode(true);
  const pairs = [[drawn, copy], ...[...drawn.querySelectorAll("*")].map((node, i) => [node, copy.querySelectorAll("*")[i]])];
  for (const [node, twin] of pairs) {
    const style = getComputedStyle(node);
    for (const name of ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "fill-opacity", "stroke-opacity", "paint-order"]) twin.setAttribute(name, style.getPropertyValue(name));
    if (node.matches("text, tspan")) for (const name of ["font-family", "font-size", "font-weight", "text-anchor"]) twin.setAttribute(name, style.getPropertyValue(name));
    twin.removeAttribute("class");
  }
  copy.querySelectorAll(".ring").forEach((ring) => ring.remove());
  copy.setAttribute("xmlns", SVG_NAMESPACE);
  copy.prepend(s("rect", { width: "100%", height: "100%", fill: getComputedStyle(document.body).backgroundColor }));
  return new XMLSerializer().serializeToString(copy);
}

function save(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = h("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  // Not at once: the browser may still be reading it.
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

function fileName(label, ending) {
  return `${label.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "")}.${ending}`;
}

function saveButton(text, spoken, act) {
  const button = h("button", { type: "button", class: "save", "aria-label": spoken }, text);
  button.addEventListener("click", act);
  return button;
}

// Buttons that save a chart as SVG, where there is one, and its data as CSV.
function saving(label, data, drawn) {
  const asSvg = () => drawn() && save(fileName(label, "svg"), "image/svg+xml", svgOf(drawn()));
  return h("div", { class: "saving" },
    drawn ? saveButton("SVG", `Save the chart as SVG: ${label}`, asSvg) : null,
    saveButton("CSV", `Save the data as CSV: ${label}`, () => save(fileName(label, "csv"), "text/csv", csvOf(data))));
}
