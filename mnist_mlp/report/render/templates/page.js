"use strict";
// Sorting and filtering of tables, the interactive charts, and what sets a run apart. No names are ever put in as HTML.

const number = (text) => {
  if (text === "missed") return Infinity;
  const found = parseFloat(text.replace("< ", ""));
  return text !== "" && Number.isFinite(found) ? found : null;
};

function makeSortable(table) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => ({ row, text: row.cells[column].textContent.trim() }));
      const filled = rows.filter((r) => r.text !== "");
      const numeric = filled.every((r) => number(r.text) !== null);
      const order = (a, b) => {
        if ((a.text === "") !== (b.text === "")) return a.text === "" ? 1 : -1;  // gaps come last either way
        const way = numeric ? number(a.text) - number(b.text) || 0 : a.text.localeCompare(b.text, "en", { numeric: true });
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

// Plotly reads tags, and formulas between dollar signs.
const plain = (text) => text.replace(/[&<>$]/g, (sign) => `&#${sign.charCodeAt(0)};`);
const data = (id) => JSON.parse(document.getElementById(id).textContent);

const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;
// Half way to white on a dark page, where the darkest of the colours could not be seen.
const tint = (colour) => !isDark() ? colour : "#" + [1, 3, 5].map((at) =>
  Math.round((parseInt(colour.slice(at, at + 2), 16) + 255) / 2).toString(16).padStart(2, "0")).join("");

function line(cell, values, measure, percent, hidden) {
  const scale = (list) => list.map((v) => (v === null ? null : percent ? 100 * v : v));
  const mean = scale(values[`${measure}_mean`]), low = scale(values[`${measure}_ci_low`]), high = scale(values[`${measure}_ci_high`]);
  const name = plain(cell.name), visible = hidden.has(name) ? "legendonly" : true;
  const shared = { x: values.x, legendgroup: name, name, visible, type: "scatter" };
  const edge = { ...shared, mode: "lines", line: { width: 0 }, showlegend: false, hoverinfo: "skip" };
  const interval = mean.map((_, i) => (high[i] === null ? "" : ` [${low[i].toPrecision(4)}, ${high[i].toPrecision(4)}]`));
  const traces = [{
    ...shared, y: mean, mode: "lines+markers", line: { color: tint(cell.colour), dash: cell.dash, width: 2 }, marker: { size: 5 },
    customdata: interval, hovertemplate: `%{y:.4~g}%{customdata} at %{x}<extra>${name.replaceAll("%", "&#37;")}</extra>`,
  }];
  if (low.some((v) => v !== null)) {
    traces.push({ ...edge, y: low }, { ...edge, y: high, fill: "tonexty", fillcolor: tint(cell.colour) + "22" });
  }
  return traces;
}

function layout(x, y) {
  const style = getComputedStyle(document.documentElement);
  const text = style.getPropertyValue("--text"), grid = style.getPropertyValue("--line");
  const narrow = window.innerWidth < 700;
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: text }, hovermode: "closest",
    hoverlabel: { namelength: -1 }, margin: { l: 60, r: 10, t: 36, b: 50 },
    xaxis: { gridcolor: grid, linecolor: grid, zeroline: false, ...x }, yaxis: { gridcolor: grid, linecolor: grid, zeroline: false, ...y },
    legend: narrow ? { orientation: "h", y: -0.2 } : {}, showlegend: true,
  };
}

function draw(element, traces, axes) {
  const narrow = window.innerWidth < 700;
  const shown = traces.filter((t) => t.showlegend !== false).length;
  element.style.height = narrow ? `${24 + 1.6 * shown}rem` : `${Math.max(30, 1.25 * shown)}rem`;
  return Plotly.react(element, traces, axes, { responsive: true, displaylogo: false });
}

const hiddenIn = (element) => new Set((element.data || []).filter((t) => t.visible === "legendonly").map((t) => t.name));

function drawCurves(section) {
  const element = document.getElementById(`${section}-curves`);
  if (!element) return;
  const split = document.getElementById(`${section}-split`).value, measure = document.getElementById(`${section}-measure`).value;
  const hidden = hiddenIn(element), percent = measure === "accuracy";
  const traces = data(`${section}-data`).curves.filter((c) => c[split]).flatMap((c) => line(c, c[split], measure, percent, hidden));
  draw(element, traces, layout(
    { title: { text: "epoch" }, dtick: traces.length && traces[0].x.length < 16 ? 1 : undefined },
    { title: { text: percent ? `${split} accuracy (%)` : `${split} loss (nats)` }, type: percent ? "linear" : "log" },
  ));
}

function drawSensitivity(section) {
  const element = document.getElementById(`${section}-sensitivity`);
  if (!element) return;
  const hidden = hiddenIn(element);
  const traces = data(`${section}-data`).sensitivity.flatMap((cell) => {
    const own = line(cell, cell, "accuracy", true, hidden);
    const bad = cell.x.map((_, i) => i).filter((i) => cell.diverged[i] > 0);
    return bad.length === 0 ? own : [...own, {
      ...own[0], x: bad.map((i) => cell.x[i]), y: bad.map((i) => own[0].y[i] ?? 0), mode: "markers", showlegend: false,
      marker: { symbol: "x", size: 11, color: tint(cell.colour) }, customdata: bad.map((i) => cell.diverged[i]),
      hovertemplate: `%{customdata} diverged at %{x}<extra>${plain(cell.name).replaceAll("%", "&#37;")}</extra>`,
    }];
  });
  draw(element, traces, layout({ title: { text: "learning rate" }, type: "log" }, { title: { text: "accuracy (%)" } }));
}

function drawAll() {
  for (const section of document.querySelectorAll("section[data-charts]")) {
    drawCurves(section.id);
    drawSensitivity(section.id);
  }
}

function showRun() {
  const link = location.hash && document.querySelector(`a[href="${CSS.escape(location.hash).replace("\\#", "#")}"]`);
  const found = link && link.closest("tr[data-run]");
  if (!found) return;
  const { texts, usual, runs } = data(`${found.closest("section").id}-differences`);
  const [command, apart] = runs[found.dataset.run];
  const dialog = document.getElementById("run");
  dialog.querySelector("h2").textContent = found.dataset.run;
  dialog.querySelector("pre").textContent = command;
  dialog.querySelector("pre").hidden = command === "";
  const body = dialog.querySelector("tbody");
  body.replaceChildren(...apart.map(([key, value]) => {
    const row = document.createElement("tr");
    for (const text of [texts[key], texts[value], texts[usual[key]]]) row.insertCell().textContent = text;
    return row;
  }));
  if (!dialog.open) dialog.showModal();
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll("input[data-table]").forEach(makeFilter);
document.querySelectorAll("select[data-section]").forEach((s) => s.addEventListener("change", () => drawCurves(s.dataset.section)));
window.addEventListener("hashchange", showRun);
document.getElementById("run").addEventListener("close", () => history.replaceState(null, "", location.pathname + location.search));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
drawAll();
showRun();
