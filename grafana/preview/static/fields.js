// A field's settings: the panel's defaults, changed by the overrides that match, as Grafana does.

function matches(matcher, field, refId) {
  if (matcher.id === "byName") return field.name === matcher.options;
  return matcher.id === "byFrameRefID" && refId === matcher.options;
}

export function settingsOf(panel, field, refId) {
  const { defaults, overrides } = panel.fieldConfig;
  const settings = { ...defaults, custom: { ...defaults.custom } };
  for (const override of overrides.filter((item) => matches(item.matcher, field, refId))) {
    for (const { id, value } of override.properties) {
      if (id.startsWith("custom.")) settings.custom[id.slice(7)] = value;
      else settings[id] = value;
    }
  }
  return settings;
}

// The text and colour that a value mapping gives a value, or null.
export function mapped(settings, value) {
  const absent = value === null || value === undefined || Number.isNaN(value);
  for (const mapping of settings.mappings || []) {
    if (mapping.type === "value" && !absent && Object.hasOwn(mapping.options, String(value))) return mapping.options[String(value)];
    if (mapping.type === "special" && absent && mapping.options.match.includes("null")) return mapping.options.result;
  }
  return null;
}

export function thresholdColor(settings, value) {
  const reached = (settings.thresholds?.steps || []).filter((step) => step.value === null || value >= step.value);
  return reached.length ? reached.at(-1).color : null;
}

// Okabe and Ito's colours, and lighter ones of the same hues on a dark page.
const LIGHT = ["#0072B2", "#D55E00", "#009E73", "#AA4A86", "#B58900", "#56B4E9", "#7A5AC2", "#5F6B7A", "#8C510A", "#C43C5E"];
const DARK = ["#56B4E9", "#F0915A", "#2FC79A", "#E08FBF", "#E9C84A", "#9CC9F5", "#B39CF0", "#A8B2C1", "#D9A066", "#F08CA0"];

export const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;

function hash(text) {
  let value = 7;
  for (let i = 0; i < text.length; i += 1) value = (value * 31 + text.charCodeAt(i)) >>> 0;
  return value;
}

// Colours follow what a series is about (its labels), so that a version looks the same in every panel,
// final or provisional; two of one panel that would meet are moved apart while colours last.
export function colorsOf(fields) {
  const palette = isDark() ? DARK : LIGHT;
  const taken = new Map();
  return fields.map((field) => {
    const about = Object.values(field.labels).join(" ") || field.name;
    if (!taken.has(about)) {
      let index = hash(about) % palette.length;
      while (taken.size < palette.length && [...taken.values()].includes(index)) index = (index + 1) % palette.length;
      taken.set(about, index);
    }
    return palette[taken.get(about)];
  });
}

// Black or white, whichever can be read on a colour.
export function inkOn(color) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue > 135 ? "#10131a" : "#ffffff";
}
