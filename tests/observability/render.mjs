// Draws the dashboard's panels from what Prometheus answered: node render.mjs PANELS.json PICTURE.png
// The panels stand where Grafana would put them. What is drawn is the data; the manner is ours.
import { readFileSync } from "node:fs";
import { launch } from "../page/browser.mjs";

const WIDTH = 1600;
const COLUMN = (WIDTH - 40) / 24;
const ROW = 34;
const COLOURS = ["#0f8a66", "#2f6fd0", "#b86800", "#7a58cf", "#b3261e", "#0b8ca3", "#8a7a00", "#c2418c"];

const STYLE = `
  body { margin: 0; padding: 24px; width: ${WIDTH - 48}px; background: #f6f7f6; color: #1a2120; font: 13px/1.35 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
  h1 { font-size: 20px; margin: 0 0 4px; } .about { color: #56615e; margin: 0 0 16px; }
  .grid { display: grid; grid-template-columns: repeat(24, 1fr); grid-auto-rows: ${ROW - 8}px; gap: 8px; }
  .row { font-weight: 650; align-self: end; } .panel { background: #fff; border: 1px solid #dfe3e1; border-radius: 8px; padding: 10px 12px; display: flex; flex-direction: column; overflow: hidden; }
  h2 { font-size: 13px; margin: 0 0 6px; font-weight: 600; } svg { flex: 1; min-height: 0; width: 100%; } text { font-size: 10px; fill: #56615e; }
  .legend { display: flex; flex-wrap: wrap; gap: 0 12px; color: #56615e; font-size: 11px; margin-top: 4px; } i { display: inline-block; width: 9px; height: 9px; border-radius: 2px; margin-right: 4px; }
  .figures { flex: 1; display: flex; justify-content: space-around; align-items: center; gap: 16px; } .figure b { display: block; font-size: 26px; letter-spacing: -.02em; } .figure { text-align: center; color: #56615e; } .figure b { color: #1a2120; }
  .bars { display: grid; grid-template-columns: auto 1fr auto; gap: 5px 10px; align-content: space-evenly; flex: 1; align-items: center; } .bars div { background: #eef1f0; border-radius: 4px; } .bars div div { height: 14px; background: #0f8a66; } .bars b { text-align: end; }`;

const numbers = (digits) => new Intl.NumberFormat("en-US", { maximumSignificantDigits: digits });
const FORMATS = {
  percentunit: (value) => `${numbers(3).format(value * 100)} %`,
  currencyUSD: (value) => `$${numbers(3).format(value)}`,
  s: (value) => (value < 1 ? `${numbers(3).format(value * 1000)} ms` : `${numbers(3).format(value)} s`),
  bytes: (value) => (value < 2 ** 20 ? `${numbers(3).format(value / 2 ** 10)} KiB` : `${numbers(3).format(value / 2 ** 20)} MiB`),
  reqps: (value) => `${numbers(3).format(value)}/s`,
  ops: (value) => `${numbers(3).format(value)}/s`,
  short: (value) => new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 3 }).format(value),
};

const escaped = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
const formatter = (panel) => FORMATS[panel.definition.fieldConfig.defaults.unit];
const finite = (points) => points.filter(([, value]) => Number.isFinite(value));
const last = (points) => points.at(-1)[1];

function stat(panel) {
  const figures = panel.series.map(([legend, points]) => `<div class="figure"><b>${formatter(panel)(last(points))}</b>${escaped(legend)}</div>`);
  return `<div class="figures">${figures.join("")}</div>`;
}

function bargauge(panel) {
  const most = Math.max(...panel.series.map(([, points]) => last(points)));
  const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
  const bars = panel.series.map(([legend, points]) => `<span>${escaped(legend)}</span><div><div style="width:${(last(points) / most) * 100}%"></div></div><b>${whole.format(last(points))}</b>`);
  return `<div class="bars">${bars.join("")}</div>`;
}

function timeseries(panel, [begin, end]) {
  const stacked = panel.definition.fieldConfig.defaults.custom.stacking?.mode === "normal";
  const { w, h } = panel.definition.gridPos;
  // What a panel's box leaves for the drawing, so that nothing is stretched.
  const [width, height, left] = [w * COLUMN - 34, h * ROW - 84, 60];
  const floor = new Map();
  const lines = panel.series.map(([legend, points]) => ({
    legend,
    points: finite(points).map(([time, value]) => {
      const low = stacked ? (floor.get(time) ?? 0) : 0;
      floor.set(time, low + value);
      return { time, low, high: low + value };
    }),
  }));
  const top = Math.max(...lines.flatMap(({ points }) => points.map(({ high }) => high))) || 1;
  const x = (time) => left + ((time - begin) / (end - begin)) * (width - left);
  const y = (value) => height - 4 - (value / top) * (height - 14);
  const drawn = lines.map(({ points }, index) => {
    const colour = COLOURS[index % COLOURS.length];
    const upper = points.map(({ time, high }) => `${x(time)},${y(high)}`);
    const lower = points.map(({ time, low }) => `${x(time)},${y(low)}`).reverse();
    const area = `<polygon points="${[...upper, ...lower].join(" ")}" fill="${colour}" fill-opacity="${stacked ? 0.55 : 0.06}"/>`;
    return `${area}<polyline points="${upper.join(" ")}" fill="none" stroke="${colour}" stroke-width="1.4"/>`;
  });
  const marks = [0, top / 2, top].map((value) => `<line x1="${left}" x2="${width}" y1="${y(value)}" y2="${y(value)}" stroke="#e6eae8"/><text x="${left - 6}" y="${y(value) + 3}" text-anchor="end">${escaped(formatter(panel)(value))}</text>`);
  const legend = lines.map((line, index) => `<span><i style="background:${COLOURS[index % COLOURS.length]}"></i>${escaped(line.legend)}</span>`);
  return `<svg viewBox="0 0 ${width} ${height}" preserveAspectRatio="xMinYMin">${marks.join("")}${drawn.join("")}</svg><div class="legend">${legend.join("")}</div>`;
}

const KINDS = { stat, bargauge, timeseries };

function place({ x, y, w, h }) {
  return `grid-column: ${x + 1} / span ${w}; grid-row: ${y + 1} / span ${h}`;
}

function page({ title, about, range, rows, panels }) {
  const headings = rows.map((row) => `<div class="row" style="${place(row.gridPos)}">${escaped(row.title)}</div>`);
  const boxes = panels.map((panel) => `<section class="panel" style="${place(panel.definition.gridPos)}"><h2>${escaped(panel.definition.title)}</h2>${KINDS[panel.definition.type](panel, range)}</section>`);
  return `<!doctype html><meta charset="utf-8"><style>${STYLE}</style><h1>${escaped(title)}</h1><p class="about">${escaped(about)}</p><div class="grid">${headings.join("")}${boxes.join("")}</div>`;
}

const [from, to] = process.argv.slice(2);
const browser = await launch();
const tab = await browser.newPage({ viewport: { width: WIDTH, height: 900 } });
await tab.setContent(page(JSON.parse(readFileSync(from, "utf8"))));
await tab.screenshot({ path: to, fullPage: true });
await browser.close();
