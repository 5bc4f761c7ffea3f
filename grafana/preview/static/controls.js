// What the reader can choose: the variables' values and the range of time.

import { ALL } from "./api.js";
import { element } from "./dom.js";

export const RANGES = [["6h", "Last 6 hours"], ["24h", "Last 24 hours"], ["2d", "Last 2 days"], ["7d", "Last 7 days"], ["14d", "Last 14 days"], ["30d", "Last 30 days"], ["all", "Whole data"]];
const UNIT_MS = { h: 3600e3, d: 86400e3 };

export const lengthOf = (name) => parseInt(name, 10) * UNIT_MS[name.at(-1)];

export function drawRange(select, chosen, onChange) {
  const options = chosen.includes("-") ? [...RANGES, [chosen, "Zoomed (choose another to leave)"]] : RANGES;
  select.replaceChildren(...options.map(([value, text]) => element("option", { value, selected: value === chosen }, text)));
  select.onchange = () => onChange(select.value);
}

export function drawVariables(box, variables, onChange) {
  if (box.querySelector("details[open]") || box.contains(document.activeElement)) return;
  box.replaceChildren(...variables.map((variable) => element("div", { class: "field" }, element("span", {}, variable.label),
    variable.multi ? picker(variable, onChange) : single(variable, onChange))));
}

function single(variable, onChange) {
  const options = variable.options.map((value) => element("option", { value, selected: variable.current.includes(value) }, value));
  const select = element("select", { "aria-label": variable.label, onchange: () => { select.blur(); onChange(variable.name, [select.value]); } },
    ...(options.length ? options : [element("option", {}, "none yet")]));
  return select;
}

function picker(variable, onChange) {
  const chosen = new Set(variable.current);
  const summary = chosen.has(ALL) ? "All" : [...chosen].join(", ") || "none yet";
  const details = element("details", { class: "picker" }, element("summary", { title: summary }, summary));
  const pick = (value) => {
    if (value === ALL) { chosen.clear(); chosen.add(ALL); } else {
      chosen.delete(ALL);
      if (!chosen.delete(value)) chosen.add(value);
      if (!chosen.size) chosen.add(variable.includeAll ? ALL : variable.options[0]);
    }
    details.open = false;
    document.activeElement?.blur();
    onChange(variable.name, [...chosen]);
  };
  const entry = (value, text) => element("label", { title: text },
    element("input", { type: "checkbox", checked: chosen.has(value), onchange: () => pick(value) }), element("span", {}, text));
  const all = variable.includeAll ? [entry(ALL, "All")] : [];
  details.append(element("div", { class: "options" }, ...all, ...variable.options.map((value) => entry(value, value))));
  return details;
}
