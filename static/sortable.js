/* Tables of the class `lb-sortable`: a click on a column's title sorts by it.
   Without this script they are plain tables. */
(function () {
  function value(row, column) {
    const cell = row.cells[column];
    const given = cell.dataset.value;
    if (given === undefined) return cell.textContent.trim();
    return given === "" ? null : Number(given);
  }

  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en");
  }

  function sort(table, column, falling) {
    const body = table.tBodies[0];
    const rows = Array.from(body.rows).map((row) => [value(row, column), row]);
    // What has no value stays at the end, whatever the direction.
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return falling ? compare(b, a) : compare(a, b);
    });
    body.append(...rows.map(([, row]) => row));
    Array.from(table.tHead.rows[0].cells).forEach((cell, index) => {
      if (index !== column) cell.removeAttribute("aria-sort");
      else cell.setAttribute("aria-sort", falling ? "descending" : "ascending");
    });
  }

  function prepare(table) {
    Array.from(table.tHead.rows[0].cells).forEach((cell, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...cell.childNodes);
      cell.append(button);
      button.addEventListener("click", () =>
        sort(table, column, cell.getAttribute("aria-sort") === "ascending"),
      );
    });
  }

  document.querySelectorAll("table.lb-sortable").forEach(prepare);
})();
