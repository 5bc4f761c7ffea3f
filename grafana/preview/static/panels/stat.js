// One number per series, the last one there is; its colour is doubled by a dot and never the only sign.

import { element } from "../dom.js";
import { mapped, settingsOf, thresholdColor } from "../fields.js";
import { formatValue } from "../format.js";

function lastValue(values) {
  for (let i = values.length - 1; i >= 0; i -= 1) if (values[i] !== null) return values[i];
  return null;
}

function number(panel, field, refId) {
  const settings = settingsOf(panel, field, refId);
  const value = lastValue(field.values);
  const mapping = mapped(settings, value);
  const color = mapping?.color || thresholdColor(settings, value);
  const single = settings.thresholds.steps.length === 1 && !mapping;
  return element("div", { class: `number${single ? " plain" : ""}`, "--state": color }, mapping?.text ?? formatValue(value, settings.unit, settings.decimals));
}

export function drawStat(body, panel, frames) {
  const fields = frames.flatMap((frame) => frame.fields.filter((field) => field.kind === "number").map((field) => [field, frame.refId]));
  const several = fields.length > 1;
  body.replaceChildren(element("div", { class: `stat${several ? " many" : ""}` }, ...fields.map(([field, refId]) => element("div", {},
    number(panel, field, refId), several ? element("div", { class: "caption", title: field.name }, field.name) : null))));
}
