// The server's answers as objects; an answer that is an error becomes an Error with the server's words.

export const ALL = "$__all";

async function answer(response) {
  const body = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
  if (!response.ok) throw new Error(body.error || `the server answered ${response.status}`);
  return body;
}

const get = async (path) => answer(await fetch(path));
const query = (pairs) => new URLSearchParams(pairs).toString();

export const listDashboards = () => get("/api/dashboards");
export const loadDashboard = (uid) => get(`/api/dashboards/${encodeURIComponent(uid)}`);
export const loadExtent = (model) => get(`/api/extent?${query([["model", model]])}`);
export const loadStatus = (model) => get(`/api/status?${query([["model", model]])}`);

export function loadVariables(uid, chosen, range) {
  const pairs = Object.entries(chosen).flatMap(([name, values]) => values.map((value) => [`var-${name}`, value]));
  return get(`/api/variables/${encodeURIComponent(uid)}?${query([...pairs, ["from", range.from], ["to", range.to]])}`);
}

export async function loadPanel(uid, panelId, range, variables, widthPixels) {
  const interval = Math.max(1000, Math.round((range.to - range.from) / Math.max(widthPixels, 100)));
  const body = { uid, panel_id: panelId, from: range.from, to: range.to, variables, interval_ms: interval };
  return answer(await fetch("/api/panel", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  }));
}
