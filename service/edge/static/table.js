/** Tables of figures. */
import { bar } from "./places.js";
import { shown } from "./plot.js";

/**
 * Write over the rows that are there, so that a reader's place and selection stay.
 * @param {HTMLTableSectionElement} body
 * @param {any[]} values  one for each row
 * @param {(value: any) => (string | number | object)[]} cells  of a row; an object is times by place, shown as a bar
 */
export function fill(body, values, cells) {
  while (body.rows.length > Math.max(values.length, 1)) body.deleteRow(-1);
  const lines = values.length ? values.map(cells) : [["none"]];
  lines.forEach((line, number) => {
    const row = body.rows[number] ?? body.insertRow();
    while (row.cells.length > line.length) row.deleteCell(-1);
    line.forEach((value, column) => {
      const cell = row.cells[column] ?? row.insertCell();
      if (typeof value === "object") return bar(cell, value);
      const text = typeof value === "number" ? shown(value) : value;
      if (cell.textContent !== text) cell.textContent = text;
    });
  });
}
