"use strict";
// Sorting and filtering of tables, the interactive charts, and what sets a run apart. No names are ever put in as HTML.

// What a cell is sorted by: its number, or all of those that stand between brackets, as of an interval.
function numbers(text) {
  if (text === "missed") return [Infinity];
  const inside = text.match(/^\[(.*)\]$/);
  const found = (inside ? inside[1].split(",").filter((part) => part.trim() !== "") : [text.replace("< ", "")]).map(parseFloat);
  return found.every(Number.isFinite) ? found : null;
}

// Of lists the shorter first, then number by number.
function byNumbers(a, b) {
  const at = a.findIndex((value, i) => value !== b[i]);
  return a.length - b.length || (at === -1 ? 0 : a[at] - b[at]);
}

// Names of cells: by the values of one key after the other, which may be numbers or lists.
function byParts(a, b) {
  const [x, y] = [a, b].map((text) => text.split(" / ").map((part) => part.slice(part.indexOf("=") + 1)));
  const at = x.findIndex((part, i) => part !== y[i]);
  const [p, q] = [numbers(x[at] ?? ""), numbers(y[at] ?? "")];
  return (p && q && byNumbers(p, q)) || a.localeCompare(b, "en", { numeric: true });
}

function makeSortable(table) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => ({ row, text: row.cells[column].textContent.trim() }));
      const filled = rows.filter((r) => r.text !== "");
      const numeric = filled.every((r) => numbers(r.text) !== null);
      const order = (a, b) => {
        if ((a.text === "") !== (b.text === "")) return a.text === "" ? 1 : -1;  // gaps come last either way
        const way = numeric ? byNumbers(numbers(a.text), numbers(b.text)) : byParts(a.text, b.text);
        return up ? way : -way;
      };
      body.append(...rows.sort(order).map((r) => r.row));
    });
  });
}

function makeFilter(input) {
  const body = document.getElementById(input.dataset.table).tBodies[0];
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
}

// Says so where a table is wider than its place.
function hintAtMore(scroller) {
  const hint = scroller.previousElementSibling;
  const watch = new ResizeObserver(() => { hint.hidden = scroller.scrollWidth <= scroller.clientWidth; });
  [scroller, scroller.firstElementChild].forEach((element) => watch.observe(element));
}

// Plotly reads tags, and formulas between dollar signs.
const plain = (text) => text.replace(/[&<>$]/g, (sign) => `&#${sign.charCodeAt(0)};`);
const data = (id) => JSON.parse(document.getElementById(id).textContent);

const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;
// Half way to white on a dark page, where the darkest of the colours could not be seen.
const tint = (colour) => !isDark() ? colour : "#" + [1, 3, 5].map((at) =>
  Math.round((parseInt(colour.slice(at, at + 2), 16) + 255) / 2).toString(16).padStart(2, "0")).join("");

const WIDEST = Math.log10(5);  // by which intervals make an axis longer; one that nears 0 would never end
const NARROW = 700, MOST_COLUMNS = 4;  // pixels; panels in a row
const LOGARITHMIC = { type: "log", tickformat: "~g", nticks: 3 };  // with more, Plotly writes 6, 7, 8, 9 into one another
const SPELLED = { train: "training", val: "validation", test: "test" };
const ends = (list) => list.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [Infinity, -Infinity]);
const isNarrow = () => window.innerWidth < NARROW;
const hover = (cell) => plain(cell.name).replaceAll("%", "&#37;");
// Without its middle, as names that begin alike often differ at their ends.
function cut(text, most) {
  const letters = [...text], end = Math.floor(most / 3);
  return letters.length <= most ? text : `${letters.slice(0, most - 1 - end).join("")}…${letters.slice(-end).join("")}`;
}

// All of them cut, but those that would then look alike less so.
function shortened(texts, most) {
  const cuts = texts.map((text) => cut(text, most));
  const isAlone = (text, i) => text === cuts[i] || cuts.indexOf(cuts[i]) === cuts.lastIndexOf(cuts[i]);
  const alike = texts.filter((text, i) => !isAlone(text, i));
  const longer = alike.length ? shortened(alike, most + 10) : [];
  return texts.map((text, i) => isAlone(text, i) ? cuts[i] : longer[alike.indexOf(text)]);
}

// A cell's line with its interval, of an opacity in two hexadecimal digits, on the axes of its panel.
function line(cell, points, measure, place, shared, opacity) {
  const scale = (list) => list.map((v) => (v === null ? null : measure === "error" ? 100 * v : v));
  const [mean, low, high] = ["mean", "ci_low", "ci_high"].map((part) => scale(points[`${measure}_${part}`]));
  const unit = measure === "error" ? " %" : " nats";
  const interval = mean.map((_, i) => unit + (high[i] === null ? "" : ` [${low[i].toPrecision(3)}, ${high[i].toPrecision(3)}]`));
  const base = { ...shared, ...place, x: points.x, type: "scatter" };
  const edge = { ...base, mode: "lines", line: { width: 0 }, showlegend: false, hoverinfo: "skip" };
  const traces = low.every((v) => v === null) ? [] :
    [{ ...edge, y: low }, { ...edge, y: high, fill: "tonexty", fillcolor: tint(cell.colour) + opacity }];
  return [...traces, {
    ...base, y: mean, mode: "lines+markers", line: { color: tint(cell.colour), dash: cell.dash, width: 2 }, marker: { size: 4 },
    customdata: interval, hovertemplate: `%{y:.3~g}%{customdata} at %{x}<extra>${hover(cell)}</extra>`,
  }];
}

function crosses(cell, points, place, shared) {
  const bad = points.x.map((_, i) => i).filter((i) => points.diverged[i] > 0);
  return bad.length === 0 ? [] : [{
    ...shared, ...place, type: "scatter", mode: "markers", showlegend: false, cliponaxis: false,
    x: bad.map((i) => points.x[i]), y: bad.map((i) => 100 * points.error_mean[i]),
    marker: { symbol: "x", size: 9, color: tint(cell.colour) }, customdata: bad.map((i) => points.diverged[i]),
    hovertemplate: `%{customdata} diverged at %{x}<extra>${hover(cell)}</extra>`,
  }];
}

// All cells of other panels that have this label, as one line with gaps.
function others(cells, measure, place, shared) {
  const factor = measure === "error" ? 100 : 1;
  return {
    ...shared, ...place, type: "scatter", mode: "lines", showlegend: false, hoverinfo: "skip",
    line: { color: isDark() ? "#4a4d52" : "#d0d0d0", width: 1 },
    x: cells.flatMap(({ points }) => [...points.x, null]),
    y: cells.flatMap(({ points }) => [...points[`${measure}_mean`].map((v) => v === null ? null : factor * v), null]),
  };
}

// Small multiples: a panel for each optimizer, best first, a line for each initialisation, the other cells in grey.
function drawPanels(element, section, cells, measure, axes) {
  const { legend, title, panels: names } = data(`${section}-data`);
  const hidden = new Set((element.data || []).filter((t) => t.visible === "legendonly").map((t) => t.legendgroup));
  const panels = names.filter((name) => cells.some(({ cell }) => cell.panel === name));
  const labels = [...new Set(cells.map(({ cell }) => cell.label))];
  const shared = (label) => ({
    legendgroup: plain(label), name: plain(label), legendrank: 1 + legend.indexOf(label), visible: hidden.has(plain(label)) ? "legendonly" : true,
  });
  const seen = new Set();
  const traces = panels.flatMap((panel, i) => {
    const place = { xaxis: `x${i + 1}`, yaxis: `y${i + 1}` };
    const grey = panels.length === 1 ? [] : labels.map((label) => others(
      cells.filter(({ cell }) => cell.label === label && cell.panel !== panel), measure, place, shared(label)));
    const here = cells.filter(({ cell }) => cell.panel === panel);
    const opacity = here.length > 4 ? "11" : "22";  // else many bands hide the lines
    const own = here.flatMap(({ cell, points }) => {
      const drawn = line(cell, points, measure, place, shared(cell.label), opacity);
      drawn.at(-1).showlegend = legend.length > 0 && !seen.has(cell.label);
      seen.add(cell.label);
      return [...drawn, ...(points.diverged ? crosses(cell, points, place, shared(cell.label)) : [])];
    });
    return [...grey, ...own];
  });
  const rows = Math.ceil(panels.length / (isNarrow() ? 2 : MOST_COLUMNS)), columns = Math.ceil(panels.length / rows);
  const height = rows * (panels.length === 1 ? 340 : isNarrow() ? 160 : 205);
  element.style.height = `${height + 130}px`;
  const { x, y } = axes(columns);
  const logarithms = (part) => cells.flatMap(({ points }) => points[`${measure}_${part}`]).filter((v) => v > 0)
    .map((v) => Math.log10(measure === "error" ? 100 * v : v));
  const means = logarithms("mean"), [lowest, highest] = ends(means);
  const low = Math.max(ends(logarithms("ci_low"))[0], lowest - WIDEST), high = Math.min(ends(logarithms("ci_high"))[1], highest + WIDEST);
  const range = means.length ? [Math.min(lowest, low) - 0.1, Math.max(highest, high) + 0.06] : undefined;
  const layout = panelLayout(panels, rows, columns, { x, y: { ...y, ...LOGARITHMIC, range } });
  layout.legend = { orientation: "h", x: 0, y: 1 + 26 / height, yanchor: "bottom", title: { text: title ? `${plain(title)} ` : "" } };
  return Plotly.react(element, traces, layout, { responsive: true, displaylogo: false });
}

function panelLayout(panels, rows, columns, { x, y }) {
  const style = getComputedStyle(document.documentElement);
  const text = style.getPropertyValue("--text"), grid = style.getPropertyValue("--grid");
  const width = Math.min(window.innerWidth, 1180) / columns;
  const titles = shortened(panels, Math.floor((width - 50) / 8));
  const layout = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: text, size: isNarrow() ? 11 : 12 },
    hovermode: "closest", hoverlabel: { namelength: -1 }, margin: { l: isNarrow() ? 52 : 64, r: 12, t: 30, b: 50 }, showlegend: true,
    grid: { rows, columns, pattern: "independent", xgap: isNarrow() ? 0.1 : 0.06, ygap: isNarrow() ? 0.24 : 0.18 },
    annotations: titles.map((title, i) => ({
      text: plain(title), showarrow: false, font: { size: isNarrow() ? 12 : 14 },
      xref: `x${i + 1} domain`, yref: `y${i + 1} domain`, x: 0.5, y: 1, xanchor: "center", yanchor: "bottom",
    })),
  };
  panels.forEach((_, i) => {
    const base = { gridcolor: grid, linecolor: grid, zeroline: false };
    const isLowest = i + columns >= panels.length, isFirst = i % columns === 0;
    const follows = (axis) => (i === 0 ? {} : { matches: axis });
    layout[`xaxis${i + 1}`] = { ...base, ...x, ...follows("x"), showticklabels: isLowest, title: { text: isLowest ? x.title : "", standoff: 8 } };
    layout[`yaxis${i + 1}`] = { ...base, ...y, ...follows("y"), showticklabels: isFirst, title: { text: isFirst ? y.title : "" } };
  });
  return layout;
}

function drawCurves(section) {
  const element = document.getElementById(`${section}-curves`);
  if (!element) return;
  const split = document.getElementById(`${section}-split`).value, measure = document.getElementById(`${section}-measure`).value;
  const cells = data(`${section}-data`).curves.filter((c) => c[split]).map((cell) => ({ cell, points: cell[split] }));
  const [, epochs] = ends(cells.flatMap(({ points }) => points.x));
  drawPanels(element, section, cells, measure, (columns) => ({
    x: { title: "epoch", dtick: epochs * columns > 60 ? undefined : Math.ceil(epochs / 5) || 1 },
    y: { title: `${SPELLED[split]} ${measure === "error" ? "error (%)" : "loss (nats)"}` },
  }));
}

function drawSensitivity(section) {
  const element = document.getElementById(`${section}-sensitivity`);
  if (!element) return;
  const { sensitivity, judged } = data(`${section}-data`);
  drawPanels(element, section, sensitivity.map((cell) => ({ cell, points: cell })), "error", () => ({
    x: { title: "learning rate", type: "log", tickformat: "~g", dtick: 1 }, y: { title: `${SPELLED[judged]} error (%)` },
  }));
}

function drawBudget(section) {
  const element = document.getElementById(`${section}-budget`);
  if (!element) return;
  drawPanels(element, section, data(`${section}-data`).budget.map((cell) => ({ cell, points: cell })), "error", () => ({
    x: { title: "settings tried", type: "log", tickformat: "~g", dtick: "D2" }, y: { title: "expected test error (%)" },
  }));
}

function drawAll() {
  for (const section of document.querySelectorAll("section[data-charts]")) {
    drawCurves(section.id);
    drawSensitivity(section.id);
    drawBudget(section.id);
  }
}

function showRun() {
  const link = location.hash && document.querySelector(`a[href="${CSS.escape(location.hash).replace("\\#", "#")}"]`);
  const found = link && link.closest("tr[data-run]");
  const dialog = document.getElementById("run");
  if (!found) return dialog.close();  // as the browser's Back has it
  const { texts, usual, runs } = data(`${found.closest("section").id}-differences`);
  const [command, apart] = runs[found.dataset.run];
  dialog.querySelector("h2").textContent = found.dataset.run;
  dialog.querySelector("pre").textContent = command;
  dialog.querySelector("pre").hidden = command === "";
  const body = dialog.querySelector("tbody");
  body.replaceChildren(...apart.map(([key, value]) => {
    const row = document.createElement("tr");
    for (const text of [texts[key], texts[value], texts[usual[key]]]) row.insertCell().textContent = text;
    return row;
  }));
  dialog.dataset.hash = location.hash;
  if (!dialog.open) dialog.showModal();
}

function forgetRun({ target }) {
  // "close" is told later, when another run may already have been asked for: its address stays.
  if (location.hash === target.dataset.hash) history.replaceState(null, "", location.pathname + location.search);
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll("input[data-table]").forEach(makeFilter);
document.querySelectorAll(".scroll").forEach(hintAtMore);
document.querySelectorAll("select[data-section]").forEach((s) => s.addEventListener("change", () => drawCurves(s.dataset.section)));
window.addEventListener("hashchange", showRun);
document.getElementById("run").addEventListener("close", forgetRun);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
matchMedia(`(max-width: ${NARROW - 1}px)`).addEventListener("change", drawAll);
drawAll();
showRun();
