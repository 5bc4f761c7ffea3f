// The page's state, its address and its five-second refresh. Everything drawn is drawn elsewhere.

import { listDashboards, loadDashboard, loadExtent, loadStatus, loadVariables } from "./api.js";
import { drawRange, drawVariables, lengthOf } from "./controls.js";
import { timeText } from "./format.js";
import { layOut, refreshPanels } from "./grid.js";
import { drawStatus } from "./status.js";

const REFRESH_MS = 5000;
// New models, versions and columns are rare, and listing them costs as much as drawing six panels.
const VARIABLES_EVERY = 12;
const ALIGNED_MS = 14 * 86400e3;
const byId = (id) => document.getElementById(id);

const state = { dashboard: null, chosen: {}, range: null, model: null, running: false, again: false, timer: 0, variables: null, age: 0 };

function readAddress() {
  for (const [key, value] of new URLSearchParams(location.search)) {
    if (key === "range") state.range = value;
    if (key.startsWith("var-")) (state.chosen[key.slice(4)] ||= []).push(value);
  }
}

function writeAddress() {
  const pairs = Object.entries(state.chosen).flatMap(([name, values]) => values.map((value) => [`var-${name}`, value]));
  if (state.range) pairs.push(["range", state.range]);
  history.replaceState(null, "", `${location.pathname}?${new URLSearchParams(pairs)}`);
}

// Without a choice: the last 14 days where data reaches into them, otherwise all of the data there is.
function currentRange(extent) {
  const now = Date.now();
  const zoomed = /^(\d+)-(\d+)$/.exec(state.range || "");
  if (zoomed) return { from: Number(zoomed[1]), to: Number(zoomed[2]), name: state.range };
  const isAligned = extent.last !== null && extent.last > now - ALIGNED_MS;
  const known = state.range === "all" || /^\d+[hd]$/.test(state.range || "");
  const name = known ? state.range : isAligned || extent.first === null ? "14d" : "all";
  if (name === "all" && extent.first !== null) return { from: extent.first, to: extent.last, name };
  return { from: now - (name === "all" ? ALIGNED_MS : lengthOf(name)), to: now, name };
}

function notice(range, extent) {
  const parts = [];
  if (extent.first === null) parts.push("No events yet. Replay data or send events, and this page fills by itself.");
  else if (!state.range && range.name === "all") parts.push(`The newest event is older than 14 days, so the whole data is shown: ${timeText(extent.first)} to ${timeText(extent.last)} UTC.`);
  if (range.name === "all" && extent.outside > 0) parts.push(`${extent.outside.toLocaleString("en")} events in stray windows lie outside.`);
  byId("notice").textContent = parts.join(" ");
  byId("notice").hidden = parts.length === 0;
}

async function refresh() {
  if (!state.variables || !state.chosen.model?.length || state.age >= VARIABLES_EVERY) {
    state.variables = await loadVariables(state.dashboard.uid, state.chosen, { from: 0, to: Date.now() });
    state.age = 0;
  }
  state.age += 1;
  const { variables } = state;
  state.chosen = Object.fromEntries(variables.map((variable) => [variable.name, variable.current]));
  const model = state.chosen.model?.[0] || "";
  const [extent, status] = await Promise.all([loadExtent(model), loadStatus(model)]);
  const range = currentRange(extent);
  drawVariables(byId("variables"), variables, choose);
  if (document.activeElement !== byId("range")) drawRange(byId("range"), range.name, chooseRange);
  byId("span").textContent = `${timeText(range.from)} – ${timeText(range.to)} UTC`;
  notice(range, extent);
  drawStatus(byId("status"), status, extent);
  await refreshPanels(byId("grid"), state.dashboard, {
    range, extent, variables: state.chosen, onZoom: (from, to) => chooseRange(`${Math.round(from)}-${Math.round(to)}`),
  });
}

// One refresh at a time; a choice made meanwhile is drawn right after.
async function refreshNow() {
  if (state.running) { state.again = true; return; }
  clearTimeout(state.timer);
  state.running = true;
  try {
    do { state.again = false; await refresh(); } while (state.again);
    byId("refresh").textContent = `updated ${new Date().toISOString().slice(11, 19)}`;
    byId("refresh").classList.remove("stale");
    document.body.dataset.ready = "yes";
  } catch (error) {
    byId("refresh").textContent = `not updated: ${error.message}`;
    byId("refresh").classList.add("stale");
  }
  state.running = false;
  state.timer = setTimeout(() => (document.hidden ? null : refreshNow()), REFRESH_MS);
}

function choose(name, values) {
  state.chosen[name] = values;
  state.variables = null;
  writeAddress();
  refreshNow();
}

function chooseRange(name) {
  state.range = name;
  byId("range").blur();
  writeAddress();
  refreshNow();
}

async function start() {
  readAddress();
  const named = /^\/d\/([^/]+)/.exec(location.pathname);
  const uid = named ? decodeURIComponent(named[1]) : (await listDashboards())[0].uid;
  state.dashboard = await loadDashboard(uid);
  byId("title").textContent = state.dashboard.title;
  document.title = `${state.dashboard.title} · driftline`;
  layOut(byId("grid"), state.dashboard);
  await refreshNow();
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) refreshNow(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", refreshNow);
start().catch((error) => {
  byId("notice").textContent = `The page could not start: ${error.message}`;
  byId("notice").hidden = false;
});
