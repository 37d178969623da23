"use strict";
// Sorting and filtering of tables, tooltips of figures, and the dialog of a run. Names are inserted as text, never as HTML.

// Sort key of a cell: its number, or the numbers between brackets, such as those of an interval.
function numbers(text) {
  if (text === "missed") return [Infinity];
  const inside = text.match(/^\[(.*)\]$/);
  const found = (inside ? inside[1].split(",").filter((part) => part.trim() !== "") : [text.replace("< ", "")]).map(parseFloat);
  return found.every(Number.isFinite) ? found : null;
}

// Order of lists of numbers: shorter ones first, then number by number.
function byNumbers(a, b) {
  const at = a.findIndex((value, i) => value !== b[i]);
  return a.length - b.length || (at === -1 ? 0 : a[at] - b[at]);
}

// Order of cell names: by the values of their keys in turn, which may be numbers or lists.
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
        if ((a.text === "") !== (b.text === "")) return a.text === "" ? 1 : -1;  // empty cells come last in both directions
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

// Shows a hint above a table or drawing that is wider than its container.
function hintAtMore(scroller) {
  const hint = scroller.previousElementSibling;
  const watch = new ResizeObserver(() => { hint.hidden = scroller.scrollWidth <= scroller.clientWidth; });
  [scroller, scroller.firstElementChild].forEach((element) => watch.observe(element));
}

const data = (id) => JSON.parse(document.getElementById(id).textContent);

const REACH = 25;  // maximum distance between the pointer and a value, in points
const series = new Map();  // parsed values of each drawing that the pointer has visited
const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
ring.setAttribute("class", "ring");
ring.setAttribute("r", 5);

// Shows name and value of the point nearest to the pointer.
function showValues(event) {
  const box = document.getElementById("values"), svg = event.target.closest("figure svg[data-series]");
  box.hidden = true;
  ring.remove();
  if (!svg) return;
  if (!series.has(svg)) series.set(svg, JSON.parse(svg.dataset.series));
  const pointer = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  const distance = ({ point: [x, y] }) => Math.hypot(x - pointer.x, y - pointer.y);
  const [nearest] = series.get(svg).filter(([, group]) => !svg.closest("figure").querySelector(`[name=${group}]:not(:checked)`))
    .flatMap(([cell, , points]) => points.map((point) => ({ cell, point }))).sort((a, b) => distance(a) - distance(b));
  if (!nearest || distance(nearest) > REACH) return;
  const [x, y, words] = nearest.point;
  ring.setAttribute("cx", x);
  ring.setAttribute("cy", y);
  svg.append(ring);
  box.querySelector("strong").textContent = nearest.cell;
  box.querySelector("span").textContent = words;
  box.hidden = false;
  box.style.left = `${Math.max(0, Math.min(event.clientX + 14, document.documentElement.clientWidth - box.offsetWidth - 4))}px`;
  box.style.top = `${event.clientY + 18 + box.offsetHeight < window.innerHeight ? event.clientY + 18 : event.clientY - box.offsetHeight - 10}px`;
}

function showRun() {
  const link = location.hash && document.querySelector(`a[href="${CSS.escape(location.hash).replace("\\#", "#")}"]`);
  const found = link && link.closest("tr[data-run]");
  const dialog = document.getElementById("run");
  if (!found) return dialog.close();  // the browser's Back button leaves a run
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
  // The close event is asynchronous: if another run has been opened since, its address stays.
  if (location.hash === target.dataset.hash) history.replaceState(null, "", location.pathname + location.search);
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll("input[data-table]").forEach(makeFilter);
document.querySelectorAll(".scroll").forEach(hintAtMore);
for (const type of ["pointermove", "pointerdown"]) document.addEventListener(type, showValues);
window.addEventListener("hashchange", showRun);
document.getElementById("run").addEventListener("close", forgetRun);
showRun();
