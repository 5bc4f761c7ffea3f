// The rows of one query.

import { element } from "../dom.js";
import { mapped, settingsOf } from "../fields.js";
import { formatValue } from "../format.js";

function cell(column, value) {
  const { field, settings } = column;
  const mapping = value === null ? null : mapped(settings, value);
  const text = mapping?.text ?? formatValue(value, field.kind === "time" ? "dateTimeAsIso" : settings.unit, settings.decimals);
  const content = mapping ? element("span", { class: "tag", "--state": mapping.color }, text) : text;
  return element("td", { class: field.kind === "number" ? "right" : "", title: text }, content);
}

export function drawTable(body, panel, frames) {
  const [frame] = frames;
  const columns = frame.fields.map((field) => ({ field, settings: settingsOf(panel, field, frame.refId) }));
  const head = element("tr", {}, ...columns.map(({ field }) => element("th", { scope: "col", class: field.kind === "number" ? "right" : "" }, field.name)));
  const rows = frame.fields[0].values.map((_, row) => element("tr", {}, ...columns.map((column) => cell(column, column.field.values[row]))));
  const scrolled = body.querySelector(".rows")?.scrollTop || 0;
  const box = element("div", { class: "rows", tabindex: "0" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
  body.replaceChildren(box);
  box.scrollTop = scrolled;
}
