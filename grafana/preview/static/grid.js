// The dashboard's panels as cards on its 24-column grid, and what each card shows.

import { loadPanel } from "./api.js";
import { element, message } from "./dom.js";
import { timeText } from "./format.js";
import { drawStat } from "./panels/stat.js";
import { drawStateTimeline } from "./panels/statetimeline.js";
import { drawTable } from "./panels/table.js";
import { drawTimeseries } from "./panels/timeseries.js";

const DRAW = { timeseries: drawTimeseries, stat: drawStat, table: drawTable, "state-timeline": drawStateTimeline };
const AT_ONCE = 3;

function placed(node, { x, y, w, h }) {
  node.style.gridColumn = `${x + 1} / span ${w}`;
  node.style.gridRow = `${y + 1} / span ${h}`;
  node.style.setProperty("--h", h);
  if (w <= 6) node.classList.add("small");
  return node;
}

function card(panel) {
  if (panel.type === "row") return placed(element("h2", { class: "heading" }, panel.title), panel.gridPos);
  const info = element("button", { type: "button", class: `info${panel.gridPos.x >= 14 ? " flip" : ""}`, "aria-label": panel.description }, "i", element("span", {}, panel.description));
  return placed(element("section", { class: "panel", "data-panel": panel.id, "aria-label": panel.title },
    element("header", {}, element("h2", {}, panel.title), info), element("div", { class: "body" }, message("loading", ""))), panel.gridPos);
}

export function layOut(grid, dashboard) {
  grid.replaceChildren(...dashboard.panels.map(card));
}

// Panels that keep their drawing when only their numbers change, by panel id.
function isEmpty(frames) {
  return frames.every((frame) => frame.fields.every((field) => field.kind === "time" || field.values.length === 0) || frame.fields[0].values.length === 0);
}

function whyEmpty(panel, range, extent) {
  if (extent.first === null) return "The store holds no events of this model yet.";
  if (range.to < extent.first || range.from > extent.last) return `Nothing in this range: events run from ${timeText(extent.first)} to ${timeText(extent.last)}.`;
  return panel.fieldConfig.defaults.noValue;
}

function titled(panel, variables) {
  return panel.title.replace(/\$\{?(\w+)\}?/g, (whole, name) => (variables[name] ? variables[name].join(", ").replace("$__all", "all columns") : whole));
}

async function refreshPanel(grid, dashboard, panel, view) {
  const node = grid.querySelector(`[data-panel="${panel.id}"]`);
  const body = node.querySelector(".body");
  node.querySelector("h2").textContent = titled(panel, view.variables);
  const draw = DRAW[panel.type];
  if (!draw) {
    body.replaceChildren(message("open in Grafana", `This page does not draw panels of type ${panel.type}.`));
    return;
  }
  try {
    const frames = await loadPanel(dashboard.uid, panel.id, view.range, view.variables, body.clientWidth);
    if (isEmpty(frames)) body.replaceChildren(message("No data", whyEmpty(panel, view.range, view.extent)));
    else draw(body, panel, frames, view.range, view.onZoom);
    node.dataset.state = "drawn";
  } catch (error) {
    body.replaceChildren(message("The query failed", error.message, "failed"));
    node.dataset.state = "failed";
  }
}

export async function refreshPanels(grid, dashboard, view) {
  const waiting = dashboard.panels.filter((panel) => panel.type !== "row");
  const worker = async () => {
    for (let panel = waiting.shift(); panel; panel = waiting.shift()) await refreshPanel(grid, dashboard, panel, view);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}
