// Lines and bars over time, drawn by Plotly; the legend is ours, so that names are text and values are beside them.

import { element } from "../dom.js";
import { colorsOf, settingsOf } from "../fields.js";
import { formatValue } from "../format.js";

const MARGIN = { l: 64, r: 12, t: 8, b: 26 };
const HOUR = 3600e3;
const TICKS = [
  { dtickrange: [null, 12 * HOUR], value: "%H:%M" }, { dtickrange: [12 * HOUR, 28 * 24 * HOUR], value: "%b %-d" },
  { dtickrange: [28 * 24 * HOUR, null], value: "%b %Y" },
];
const hidden = new Map();

// Plotly reads a little markup in names.
const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function seriesOf(panel, frames) {
  const series = frames.flatMap((frame) => {
    const times = frame.fields.find((field) => field.kind === "time")?.values || [];
    const numbers = frame.fields.filter((field) => field.kind === "number");
    return numbers.map((field) => ({ field, name: field.name, times, values: field.values, settings: settingsOf(panel, field, frame.refId) }));
  });
  const isFixed = ({ settings }) => settings.color?.mode === "fixed";
  const free = series.filter((item) => !isFixed(item));
  const colors = colorsOf(free.map((item) => item.field));
  return series.map((item) => ({ ...item, color: isFixed(item) ? item.settings.color.fixedColor : colors[free.indexOf(item)] }));
}

function narrowestStep(times) {
  let step = Infinity;
  for (let i = 1; i < times.length; i += 1) step = Math.min(step, times[i] - times[i - 1]);
  return Number.isFinite(step) ? step : 3600e3;
}

function hoverText(series) {
  return series.values.map((value) => formatValue(value, series.settings.unit, series.settings.decimals));
}

const translucent = (color, percent) => color + Math.round(255 * percent / 100).toString(16).padStart(2, "0");

function traceOf(series) {
  const { custom } = series.settings;
  const shared = {
    name: plain(series.name), x: series.times, y: series.values, customdata: hoverText(series),
    hovertemplate: "%{customdata}<extra>%{fullData.name}</extra>",
  };
  if (custom.drawStyle === "bars") {
    const color = translucent(series.color, Math.max(custom.fillOpacity, 20));
    return { ...shared, type: "bar", width: narrowestStep(series.times) * 0.86, offset: 0, marker: { color, line: { width: 0 } } };
  }
  const withPoints = custom.showPoints === "always" || (custom.showPoints === "auto" && series.times.length < 40);
  return {
    ...shared, type: "scatter", mode: withPoints ? "lines+markers" : "lines", connectgaps: custom.spanNulls === true,
    line: { color: series.color, width: custom.lineWidth, dash: custom.lineStyle?.fill === "dash" ? `${custom.lineStyle.dash.join("px,")}px` : "solid" },
    marker: { size: custom.pointSize, color: series.color },
    fill: custom.fillOpacity > 0 ? "tozeroy" : "none", fillcolor: translucent(series.color, custom.fillOpacity),
  };
}

function layoutOf(panel, range, revision) {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const { custom, unit, min, max } = panel.fieldConfig.defaults;
  const axis = { gridcolor: color("--grid"), linecolor: color("--line"), zerolinecolor: color("--line"), tickfont: { size: 11 }, fixedrange: false };
  const bounded = max !== undefined ? { range: [min ?? 0, max * 1.04] } : { rangemode: min === 0 ? "tozero" : "normal" };
  return {
    margin: MARGIN, showlegend: false, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: color("--soft") },
    barmode: custom.stacking?.mode === "normal" ? "stack" : "overlay", bargap: 0, hovermode: "x unified", dragmode: "zoom",
    hoverlabel: { bgcolor: color("--card"), bordercolor: color("--line"), font: { color: color("--text"), size: 12 }, namelength: 40 },
    xaxis: { ...axis, type: "date", range: [range.from, range.to], nticks: 8, tickformatstops: TICKS, hoverformat: "%Y-%m-%d %H:%M", showgrid: false },
    yaxis: { ...axis, ...bounded, fixedrange: true, nticks: 6, tickformat: unit === "percentunit" ? "~%" : undefined, uirevision: revision },
  };
}

function last(values) {
  for (let i = values.length - 1; i >= 0; i -= 1) if (values[i] !== null) return values[i];
  return null;
}

function legend(series, off, redraw) {
  const toggle = (name) => { if (off.has(name)) off.delete(name); else off.add(name); redraw(); };
  return element("div", { class: "legend" }, ...series.map((item) => {
    const { custom } = item.settings;
    const shape = custom.drawStyle === "bars" ? "swatch block" : custom.lineStyle ? "swatch dashed" : "swatch";
    return element("button", { type: "button", "aria-pressed": String(!off.has(item.name)), title: item.name, onclick: () => toggle(item.name) },
      element("span", { class: shape, "--swatch": item.color }),
      element("span", { class: "name" }, item.name),
      element("span", { class: "value" }, formatValue(last(item.values), item.settings.unit, item.settings.decimals)));
  }));
}

export function drawTimeseries(body, panel, frames, range, onZoom) {
  const off = hidden.get(panel.id) || new Set();
  hidden.set(panel.id, off);
  const series = seriesOf(panel, frames);
  let plot = body.querySelector(".plot");
  if (!plot) {
    plot = element("div", { class: "plot" });
    body.replaceChildren(plot, element("div", { class: "legend" }));
  }
  const redraw = () => {
    body.querySelector(".legend").replaceWith(legend(series, off, redraw));
    const shown = series.filter((item) => !off.has(item.name)).map(traceOf);
    return window.Plotly.react(plot, shown, layoutOf(panel, range, panel.id), { displayModeBar: false, responsive: true });
  };
  redraw();
  if (!plot.dataset.zooms) {
    plot.dataset.zooms = "yes";
    plot.on("plotly_relayout", (change) => {
      const [from, to] = [change["xaxis.range[0]"], change["xaxis.range[1]"]];
      if (from !== undefined && to !== undefined) onZoom(Date.parse(`${from}Z`.replace(" ", "T")), Date.parse(`${to}Z`.replace(" ", "T")));
    });
  }
}
