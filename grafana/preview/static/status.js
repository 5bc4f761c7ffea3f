// The strip under the filters: how fresh the data is and how far the work on it has got.

import { element } from "./dom.js";
import { duration, timeText } from "./format.js";

function item(label, value, detail, kind = "") {
  return element("span", { class: kind }, `${label} `, element("b", {}, value), detail ? ` ${detail}` : "");
}

export function drawStatus(box, status, extent) {
  if (extent.first === null) {
    box.replaceChildren(item("Events", "none yet"));
    return;
  }
  const age = status.last_event === null ? "" : `(${duration((Date.now() - status.last_event) / 1000)} ago)`;
  const behind = status.jobs.filter((job) => job.behind > 0);
  const jobs = status.jobs.length === 0 ? "none has run" : behind.map((job) => `${job.job} ${job.granularity}: ${job.behind}`).join(", ") || "up to date";
  box.replaceChildren(
    item("Last event", status.last_event === null ? "n/a" : timeText(status.last_event), age),
    item("Windows", status.complete.toLocaleString("en"), `complete, ${status.open.toLocaleString("en")} open`),
    item(behind.length ? "Windows behind" : "Jobs", jobs, "", behind.length || status.jobs.length === 0 ? "behind" : ""),
    item("Events", extent.events.toLocaleString("en"), "counted"),
  );
}
