"use strict";
for (const box of document.querySelectorAll(".table")) {
  const body = box.querySelector("tbody"), heads = [...box.querySelectorAll("th")];
  const rows = [...body.rows];
  const key = (row, i) => {
    const cell = row.cells[i], s = cell.dataset.s;
    return s === undefined ? cell.textContent : s === "-Inf" ? -Infinity : s === "+Inf" ? Infinity : Number(s);
  };
  const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, {numeric: true});
  heads.forEach((head, i) => head.querySelector("button").addEventListener("click", () => {
    const now = head.getAttribute("aria-sort");
    const number = head.classList.contains("n");
    const next = now === null ? (number ? "descending" : "ascending") : now === "ascending" ? "descending" : "ascending";
    heads.forEach(h => h.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", next);
    const way = next === "ascending" ? 1 : -1;
    const sorted = rows.map(r => [key(r, i), r]).sort((a, b) => {
      // What is missing stays last, whichever way.
      if ((a[0] === -Infinity) !== (b[0] === -Infinity)) return a[0] === -Infinity ? 1 : -1;
      return way * compare(a[0], b[0]);
    });
    body.append(...sorted.map(r => r[1]));
    rows.forEach(r => r.classList.remove("group"));
  }));
  const input = box.querySelector("input");
  if (input) input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every(w => text.includes(w));
      if (!row.hidden) shown++;
    }
    box.querySelector("output").textContent = words.length ? shown + " of " + rows.length : "";
  });
}
