// One strip per series, equal neighbours merged; a stretch without an answer stays hatched grey.

import { element } from "../dom.js";
import { inkOn, mapped, settingsOf } from "../fields.js";
import { dateText, timeText } from "../format.js";

function stretches(times, values, range) {
  const merged = [];
  times.forEach((time, i) => {
    if (merged.length && merged.at(-1).value === values[i]) return;
    if (merged.length) merged.at(-1).end = time;
    merged.push({ start: time, end: range.to, value: values[i] });
  });
  return merged.filter((item) => item.end > range.from && item.start < range.to);
}

function strip(item, settings, range) {
  const mapping = mapped(settings, item.value);
  if (!mapping) return null;
  const span = range.to - range.from;
  const [start, end] = [Math.max(item.start, range.from), Math.min(item.end, range.to)];
  const share = (end - start) / span;
  const node = element("span", { title: `${mapping.text}: ${timeText(item.start)} to ${timeText(item.end)}` }, share > 0.045 ? mapping.text : "");
  node.style.left = `${(100 * (start - range.from)) / span}%`;
  node.style.width = `${Math.max(100 * share, 0.15)}%`;
  if (item.value !== null) {
    node.style.background = mapping.color;
    node.style.color = inkOn(mapping.color);
  }
  return node;
}

const STEPS_HOURS = [1, 2, 3, 6, 12, 24, 48, 72, 168, 336, 720, 2160, 8760];

function ticks(range, count) {
  const span = (range.to - range.from) / 3600e3;
  const step = (STEPS_HOURS.find((hours) => span / hours <= count) || 8760 * Math.ceil(span / 8760 / count)) * 3600e3;
  const marks = [];
  for (let time = Math.ceil(range.from / step) * step; time < range.to; time += step) marks.push(time);
  return marks.map((time) => {
    const mark = element("span", {}, step >= 86400e3 ? dateText(time).slice(5) : timeText(time).slice(11));
    mark.style.left = `${(100 * (time - range.from)) / (range.to - range.from)}%`;
    return mark;
  });
}

export function drawStateTimeline(body, panel, frames, range) {
  const lanes = frames.flatMap((frame) => {
    const times = frame.fields.find((field) => field.kind === "time")?.values || [];
    return frame.fields.filter((field) => field.kind === "number").flatMap((field) => {
      const settings = settingsOf(panel, field, frame.refId);
      const strips = stretches(times, field.values, range).map((item) => strip(item, settings, range));
      return [element("div", { class: "lane-name" }, field.name), element("div", { class: "lane" }, ...strips)];
    });
  });
  const used = new Set(frames.flatMap((frame) => frame.fields.filter((field) => field.kind === "number").flatMap((field) => field.values)));
  const meanings = [...used].map((value) => mapped(panel.fieldConfig.defaults, value)).filter(Boolean).sort((a, b) => a.index - b.index);
  const key = element("div", { class: "legend" }, ...meanings.map((item) => element("span", { class: "tag", "--state": item.color }, item.text)));
  body.replaceChildren(element("div", { class: "timeline" }, ...lanes), element("div", { class: "axis" }, ...ticks(range, Math.max(3, body.clientWidth / 110))), key);
}
