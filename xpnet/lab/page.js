"use strict";
/* The page's search and copy buttons, and its moving parts. What computes is pure and first, what draws comes
   after it; tests call `lab.descend` and the others and compare them with xpnet. */

const surfaces = {
  valley: {
    f: ([x, y]) => (1 - x) ** 2 + 10 * (y - x * x) ** 2,
    gradient: ([x, y]) => [-2 * (1 - x) - 40 * x * (y - x * x), 20 * (y - x * x)],
    start: [-1.2, 1], x: [-1.8, 1.8], y: [-0.8, 2.4], rate: 0.005, highest: 0.05,
  },
  saddle: {
    f: ([x, y]) => x * x - y * y + y ** 4 / 4,
    gradient: ([x, y]) => [2 * x, -2 * y + y ** 3],
    start: [1.5, 1e-4], x: [-1.2, 1.8], y: [-2, 2], rate: 0.05, highest: 1.2,
  },
  bowl: {
    f: ([x, y]) => (x * x + 100 * y * y) / 2,
    gradient: ([x, y]) => [x, 100 * y],
    start: [10, 1], x: [-7, 11], y: [-2.6, 2.6], rate: 0.015, highest: 0.04,
  },
  quadratic: {
    f: ([x, y]) => x * x + x * y + 4 * y * y,
    gradient: ([x, y]) => [2 * x + y, x + 8 * y],
    start: [3, 3], x: [-4, 4], y: [-4, 4], rate: 0.1, highest: 0.26,
  },
};

/** The points that a rule visits: SGD with momentum, Nesterov's form of it, or Adam with its usual betas. */
function descend(name, rule, rate, momentum, steps) {
  const { gradient, start } = surfaces[name];
  let x = [...start], v = [0, 0], s = [0, 0];
  const path = [[...x]];
  for (let t = 1; t <= steps; t++) {
    const g = gradient(x);
    if (rule === "Adam") {
      v = v.map((a, i) => 0.9 * a + 0.1 * g[i]);
      s = s.map((a, i) => 0.999 * a + 0.001 * g[i] ** 2);
      x = x.map((a, i) => a - (rate * v[i]) / (1 - 0.9 ** t) / (Math.sqrt(s[i] / (1 - 0.999 ** t)) + 1e-8));
    } else {
      v = v.map((a, i) => momentum * a + g[i]);
      x = x.map((a, i) => a - rate * (rule === "Nesterov" ? g[i] + momentum * v[i] : v[i]));
    }
    path.push([...x]);
  }
  return path;
}

/** A stream of numbers from N(0, 1), the same for each seed (mulberry32, Box and Muller). */
function gaussians(seed) {
  const uniform = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

const activations = { tanh: Math.tanh, ReLU: (z) => Math.max(0, z), sigmoid: (z) => 1 / (1 + Math.exp(-z)) };

/** Outputs of each of ten layers; weights have the standard deviation scale / sqrt(units). */
function layers(scale, activation, units = 80, samples = 100, seed = 1) {
  const next = gaussians(seed), g = activations[activation], found = [];
  let h = Array.from({ length: samples }, () => Array.from({ length: units }, next));
  for (let l = 0; l < 10; l++) {
    const w = Array.from({ length: units }, () => Array.from({ length: units }, () => (scale / Math.sqrt(units)) * next()));
    h = h.map((row) => w.map((weights) => g(weights.reduce((sum, a, i) => sum + a * row[i], 0))));
    found.push(h.flat());
  }
  return found;
}

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const deviation = (values) => Math.sqrt(Math.max(0, mean(values.map((v) => v * v)) - mean(values) ** 2));

/** Mean and deviation over all 2^H masks of sum_j w_j h_j z_j / (1 - p), each unit dropped with probability p. */
function dropout(p, outputs = [0.9, 0.2, -0.6, 1.3, -0.4, 0.7, 0.1, -1.1]) {
  const values = [], chances = [];
  for (let mask = 0; mask < 2 ** outputs.length; mask++) {
    const kept = outputs.filter((_, j) => (mask >> j) & 1);
    values.push(kept.reduce((a, b) => a + b, 0) / (1 - p));
    chances.push((1 - p) ** kept.length * p ** (outputs.length - kept.length));
  }
  const average = values.reduce((sum, v, i) => sum + v * chances[i], 0);
  const variance = values.reduce((sum, v, i) => sum + (v - average) ** 2 * chances[i], 0);
  return { values, chances, mean: average, deviation: Math.sqrt(variance) };
}

/** Two inputs, hidden tanh units, two classes; cross-entropy + lambda sum W^2; full batches, Adam. */
class Network {
  constructor(hidden, seed = 2) {
    const next = gaussians(seed);
    this.hidden = hidden;
    this.theta = Array.from({ length: 5 * hidden + 2 }, (_, i) => (i < 2 * hidden ? 1 : i < 3 * hidden ? 0 : 0.3) * next());
    for (let i = 5 * hidden; i < 5 * hidden + 2; i++) this.theta[i] = 0;
    this.m = this.theta.map(() => 0);
    this.v = this.theta.map(() => 0);
    this.t = 0;
  }
  forward(x) {
    const { hidden: H, theta: w } = this;
    const h = Array.from({ length: H }, (_, j) => Math.tanh(w[2 * j] * x[0] + w[2 * j + 1] * x[1] + w[2 * H + j]));
    const z = [0, 1].map((k) => h.reduce((sum, a, j) => sum + w[3 * H + k * H + j] * a, w[5 * H + k]));
    const top = Math.max(...z), e = z.map((a) => Math.exp(a - top));
    return { h, p: e.map((a) => a / (e[0] + e[1])) };
  }
  isWeight(i) {
    return i < 2 * this.hidden || (i >= 3 * this.hidden && i < 5 * this.hidden);
  }
  loss(points, lambda) {
    const penalty = this.theta.reduce((sum, w, i) => sum + (this.isWeight(i) ? lambda * w * w : 0), 0);
    return penalty - mean(points.map(([x, y, label]) => Math.log(this.forward([x, y]).p[label])));
  }
  step(points, lambda, rate) {
    const { hidden: H, theta: w } = this;
    const g = w.map((a, i) => (this.isWeight(i) ? 2 * lambda * a : 0));
    for (const [x, y, label] of points) {
      const { h, p } = this.forward([x, y]);
      const dz = p.map((a, k) => (a - (k === label)) / points.length);
      for (let j = 0; j < H; j++) {
        const da = (dz[0] * w[3 * H + j] + dz[1] * w[4 * H + j]) * (1 - h[j] * h[j]);
        g[2 * j] += da * x;
        g[2 * j + 1] += da * y;
        g[2 * H + j] += da;
        g[3 * H + j] += dz[0] * h[j];
        g[4 * H + j] += dz[1] * h[j];
      }
      g[5 * H] += dz[0];
      g[5 * H + 1] += dz[1];
    }
    this.t += 1;
    this.m = this.m.map((a, i) => 0.9 * a + 0.1 * g[i]);
    this.v = this.v.map((a, i) => 0.999 * a + 0.001 * g[i] ** 2);
    this.theta = w.map((a, i) => a - (rate * this.m[i]) / (1 - 0.9 ** this.t) / (Math.sqrt(this.v[i] / (1 - 0.999 ** this.t)) + 1e-8));
  }
}

/** Weights (w1, w2, bias) after the first mistake is corrected; a point on the line is one. Null: no mistake. */
function correct(w, points) {
  const wrong = points.find(([x, y, label]) => (2 * label - 1) * (w[0] * x + w[1] * y + w[2]) <= 0);
  if (!wrong) return null;
  const t = 2 * wrong[2] - 1;
  return [w[0] + t * wrong[0], w[1] + t * wrong[1], w[2] + t];
}

/** Two clouds that overlap, n points (x1, x2, class). */
function clouds(n, seed = 3) {
  const next = gaussians(seed);
  return Array.from({ length: n }, (_, i) => [next() + (i % 2 ? 0.9 : -0.9), next() + (i % 2 ? 0.9 : -0.9), i % 2]);
}

/* ---- drawing ------------------------------------------------------------------------------------------ */

const short = (value) => (Number.isFinite(value) ? value.toPrecision(3) : "not finite");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function element(tag, attributes = {}, ...children) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
}

/** A canvas with axes: `at` maps a point to pixels, `point` back. */
class Plot {
  constructor(place, xs, ys, description) {
    this.canvas = element("canvas", { width: 960, height: 600 });
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", description);
    place.append(this.canvas);
    [this.xs, this.ys, this.pen] = [xs, ys, this.canvas.getContext("2d")];
  }
  at([x, y]) {
    const { width, height } = this.canvas;
    return [((x - this.xs[0]) / (this.xs[1] - this.xs[0])) * width, ((this.ys[1] - y) / (this.ys[1] - this.ys[0])) * height];
  }
  point([px, py]) {
    const { width, height } = this.canvas;
    return [this.xs[0] + (px / width) * (this.xs[1] - this.xs[0]), this.ys[1] - (py / height) * (this.ys[1] - this.ys[0])];
  }
  clear() {
    this.pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }
  line(points, stroke, width = 2) {
    this.pen.beginPath();
    for (const p of points) {
      const [x, y] = this.at(p);
      if (!Number.isFinite(x + y) || Math.abs(x) + Math.abs(y) > 1e6) break;
      this.pen.lineTo(x, y);
    }
    [this.pen.strokeStyle, this.pen.lineWidth] = [stroke, width];
    this.pen.stroke();
  }
  dot(p, fill, radius = 8) {
    const [x, y] = this.at(p);
    this.pen.beginPath();
    this.pen.arc(x, y, radius, 0, 7);
    [this.pen.fillStyle, this.pen.strokeStyle, this.pen.lineWidth] = [fill, colour("paper"), 2];
    this.pen.fill();
    this.pen.stroke();
  }
  /** Fill cells with the colour that `pick` gives for their middle. */
  cells(n, pick) {
    const w = this.canvas.width / n, h = this.canvas.height / n;
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++) {
        this.pen.fillStyle = pick(this.point([(i + 0.5) * w, (j + 0.5) * h]));
        this.pen.fillRect(i * w, j * h, w + 1, h + 1);
      }
  }
  ticks(xlabel, ylabel) {
    this.pen.fillStyle = colour("ink");
    this.pen.font = "22px system-ui, sans-serif";
    const { width, height } = this.canvas;
    this.pen.textAlign = "left";
    this.pen.fillText(`${ylabel} ${this.ys[1]}`, 8, 24);
    this.pen.fillText(`${this.ys[0]}`, 8, height - 34);
    this.pen.fillText(`${this.xs[0]}`, 8, height - 8);
    this.pen.textAlign = "right";
    this.pen.fillText(`${xlabel} ${this.xs[1]}`, width - 8, height - 8);
  }
}

/** A labelled slider; `scale` maps its position to the value. */
function slider(place, label, low, high, value, update, scale = (v) => v, step = "any") {
  const input = element("input", { type: "range", min: low, max: high, step, value });
  const shown = element("output");
  const now = () => scale(Number(input.value));
  const refresh = () => (shown.value = short(now()));
  input.addEventListener("input", () => {
    refresh();
    update();
  });
  refresh();
  place.append(element("label", {}, `${label} `, input, " ", shown));
  return now;
}

function choice(place, label, names, update) {
  const select = element("select", {}, ...names.map((n) => element("option", { value: n }, n)));
  select.addEventListener("change", update);
  place.append(element("label", {}, `${label} `, select));
  return () => select.value;
}

function button(place, text, action) {
  const made = element("button", { type: "button" }, text);
  made.addEventListener("click", action);
  place.append(made);
}

const demos = {
  descent(place) {
    const name = place.dataset.surface, s = surfaces[name];
    const controls = element("p"), words = element("output", { className: "words" });
    place.append(controls);
    const plot = new Plot(place, s.x, s.y, `Level lines of ${name} and the path of an optimizer on it`);
    place.append(words);
    const rule = choice(controls, "rule", ["momentum", "Nesterov", "Adam"], draw);
    const rate = slider(controls, "learning rate", Math.log10(s.highest / 100), Math.log10(s.highest), Math.log10(s.rate), draw, (v) => 10 ** v);
    const momentum = slider(controls, "momentum", 0, 0.99, 0.9, draw);
    const heights = [];
    for (let i = 0; i < 60; i++) for (let j = 0; j < 60; j++) heights.push(s.f(plot.point([16 * i, 10 * j])));
    heights.sort((a, b) => a - b);
    const levels = Array.from({ length: 14 }, (_, k) => heights[Math.floor(3600 * ((k + 1) / 15) ** 2)]);
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const shade = (p) => `hsl(210 30% ${(dark ? 14 : 68) + 2 * levels.filter((level) => s.f(p) > level).length}%)`;
    function draw() {
      const path = descend(name, rule(), rate(), momentum(), 100), last = path.at(-1);
      plot.clear();
      plot.cells(120, shade);
      plot.line(path, colour("two"), 3);
      for (const p of path) plot.dot(p, colour("two"), 4);
      plot.dot(s.start, colour("one"));
      plot.ticks("x1", "x2");
      words.value = `after 100 steps: x = (${last.map(short).join(", ")}), f = ${short(s.f(last))}`;
    }
    draw();
  },
  histograms(place) {
    const controls = element("p"), words = element("output", { className: "words" });
    place.append(controls);
    const plot = new Plot(place, [0, 10], [0, 1], "Histograms of the outputs of ten layers");
    place.append(words);
    const activation = choice(controls, "activation", Object.keys(activations), draw);
    const scale = slider(controls, "weights' deviation times sqrt(n); 1: Xavier, 1.41: He", -1, 1, 0, draw, (v) => 10 ** v);
    function draw() {
      const found = layers(scale(), activation());
      plot.clear();
      found.forEach((values, l) => {
        const counts = Array(20).fill(0);
        for (const v of values) counts[Math.min(19, Math.max(0, Math.floor((v + 1) * 10)))]++;
        const top = Math.max(...counts);
        counts.forEach((c, k) => {
          const [x, y] = plot.at([l + 0.05 + 0.045 * k, (0.85 * c) / top]);
          plot.pen.fillStyle = colour("one");
          plot.pen.fillRect(x, y, 4, plot.canvas.height - y);
        });
        plot.pen.fillStyle = colour("ink");
        plot.pen.font = "20px system-ui, sans-serif";
        plot.pen.textAlign = "left";
        plot.pen.fillText(`layer ${l + 1}`, ...plot.at([l + 0.05, 0.95]));
      });
      words.value = `standard deviations, layers 1 to 10: ${found.map((v) => short(deviation(v))).join(", ")}; each histogram from -1 to 1`;
    }
    draw();
  },
  dropout(place) {
    const controls = element("p"), words = element("output", { className: "words" });
    place.append(controls);
    const plot = new Plot(place, [-6, 8], [0, 1], "Distribution of a unit's input over all 256 networks of dropout");
    place.append(words);
    const p = slider(controls, "p, the probability of dropping a unit", 0, 0.9, 0.5, draw);
    function draw() {
      const found = dropout(p()), bins = Array(70).fill(0);
      found.values.forEach((v, i) => (bins[Math.min(69, Math.max(0, Math.floor((v + 6) * 5)))] += found.chances[i]));
      const top = Math.max(...bins);
      plot.clear();
      bins.forEach((b, k) => {
        const [x, y] = plot.at([-6 + k / 5, (0.9 * b) / top]);
        plot.pen.fillStyle = colour("one");
        plot.pen.fillRect(x, y, 12, plot.canvas.height - y);
      });
      plot.line([[found.mean, 0], [found.mean, 1]], colour("two"), 3);
      plot.pen.textAlign = "left";
      plot.ticks("input", "chance, 0 to");
      words.value = `mean over all 256 networks ${short(found.mean)}, as without dropout; standard deviation ${short(found.deviation)}`;
    }
    draw();
  },
  boundary(place) {
    const controls = element("p"), words = element("output", { className: "words" });
    place.append(controls);
    const plot = new Plot(place, [-4, 4], [-3, 3], "Decision boundary of a network, trained with a penalty");
    place.append(words);
    const points = clouds(100);
    const lambda = slider(controls, "lambda", -4, 0, -2, draw, (v) => 10 ** v);
    function draw() {
      const network = new Network(20);
      for (let k = 0; k < 200; k++) network.step(points, lambda(), 0.03);
      drawBoundary(plot, network, points);
      words.value = `loss with the penalty ${short(network.loss(points, lambda()))}, without ${short(network.loss(points, 0))}`;
    }
    draw();
  },
  perceptron(place) {
    let w = [0, 0, 0], updates = 0;
    const points = [[1, 1, 1], [1, -1, 0], [-1, 1, 0], [-1, -1, 0]];
    const words = element("output", { className: "words" });
    const plot = clickable(place, points, "Points of two classes and the perceptron's line", () => ((updates = 0), draw()));
    const controls = plot.controls;
    button(controls, "correct a mistake", () => {
      const next = correct(w, points);
      if (next) [w, updates] = [next, updates + 1];
      draw();
    });
    button(controls, "100 corrections", () => {
      for (let k = 0, next; k < 100 && (next = correct(w, points)); k++) [w, updates] = [next, updates + 1];
      draw();
    });
    button(controls, "weights to 0", () => ([w, updates] = [[0, 0, 0], 0]) && draw());
    place.append(words);
    function draw() {
      plot.clear();
      if (w[0] || w[1]) {
        const middle = [(-w[0] * w[2]) / (w[0] ** 2 + w[1] ** 2), (-w[1] * w[2]) / (w[0] ** 2 + w[1] ** 2)];
        plot.line([-9, 9].map((t) => [middle[0] - t * w[1], middle[1] + t * w[0]]), colour("ink"), 3);
      }
      plot.points();
      const left = points.filter((p) => correct(w, [p])).length;
      words.value = `w = (${w.map(short).join(", ")}), ${left} mistakes, ${updates} corrections`;
    }
    draw();
  },
  network(place) {
    let network = new Network(8);
    const points = [[1, 1, 0], [1, -1, 1], [-1, 1, 1], [-1, -1, 0]];
    const words = element("output", { className: "words" });
    const plot = clickable(place, points, "Points of two classes and the answers of a network with 8 hidden units", draw);
    button(plot.controls, "train 100 steps", () => {
      for (let k = 0; k < 100 && points.length; k++) network.step(points, 1e-4, 0.03);
      draw();
    });
    button(plot.controls, "new weights", () => {
      network = new Network(8, Math.floor(performance.now()));
      draw();
    });
    place.append(words);
    function draw() {
      drawBoundary(plot, network, points);
      plot.points();
      words.value = points.length ? `loss ${short(network.loss(points, 1e-4))} after ${network.t} steps` : "no points";
    }
    draw();
  },
};

function drawBoundary(plot, network, points) {
  plot.clear();
  plot.cells(60, (p) => {
    const q = network.forward(p).p[1];
    return `color-mix(in srgb, ${colour(q > 0.5 ? "one" : "two")} ${Math.round(100 * Math.abs(q - 0.5))}%, ${colour("paper")})`;
  });
  for (const [x, y, label] of points) plot.dot([x, y], colour(label ? "one" : "two"));
  plot.ticks("x1", "x2");
}

/** A plot on which a click, or Enter at a cursor that the arrow keys move, adds a point. */
function clickable(place, points, description, changed) {
  const controls = element("p");
  place.append(controls);
  const plot = new Plot(place, [-3, 3], [-2, 2], `${description}. Arrow keys move a cursor, Enter adds a point.`);
  const label = choice(controls, "click adds class", ["1", "2"], () => {});
  let cursor = null;
  const add = (p) => {
    points.push([...p, label() === "1" ? 1 : 0]);
    changed();
  };
  plot.controls = controls;
  plot.canvas.tabIndex = 0;
  plot.canvas.addEventListener("click", (event) => {
    const box = plot.canvas.getBoundingClientRect();
    const scale = plot.canvas.width / box.width;
    add(plot.point([(event.clientX - box.left) * scale, (event.clientY - box.top) * scale]));
  });
  plot.canvas.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-0.25, 0], ArrowRight: [0.25, 0], ArrowUp: [0, 0.25], ArrowDown: [0, -0.25] }[event.key];
    if (!move && event.key !== "Enter") return;
    event.preventDefault();
    cursor ??= [0, 0];
    if (move) cursor = cursor.map((a, i) => a + move[i]);
    else add(cursor);
    changed();
  });
  plot.points = () => {
    for (const [x, y, k] of points) plot.dot([x, y], colour(k ? "one" : "two"), 11);
    if (cursor) plot.dot(cursor, colour("ink"), 5);
    plot.ticks("x1", "x2");
  };
  button(controls, "no points", () => {
    points.length = 0;
    changed();
  });
  return plot;
}

/* ---- the page ----------------------------------------------------------------------------------------- */

const search = document.getElementById("search");
search?.addEventListener("input", () => {
  const words = search.value.toLowerCase().split(" ");
  let shown = 0;
  for (const row of document.querySelectorAll("#items tbody tr")) {
    row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    shown += !row.hidden;
  }
  document.getElementById("found").value = `${shown} items`;
});

for (const copy of document.querySelectorAll("button.copy"))
  copy.addEventListener("click", async () => {
    const code = copy.parentElement.querySelector("pre");
    try {
      await navigator.clipboard.writeText(code.textContent);
      copy.textContent = "Copied";
    } catch { // not allowed here: select it
      getSelection().selectAllChildren(code);
      copy.textContent = "Selected: now Ctrl-C";
    }
  });

/* Animations run until stopped; for those who asked for less motion they stand at their end. */
for (const moving of document.querySelectorAll("figure svg:has(animate)")) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches, caption = moving.nextElementSibling;
  if (still) {
    moving.setCurrentTime(7.99);
    moving.pauseAnimations();
  }
  caption.append(" ");
  button(caption, still ? "play" : "pause", (event) => {
    const paused = moving.animationsPaused();
    moving[paused ? "unpauseAnimations" : "pauseAnimations"]();
    event.target.textContent = paused ? "pause" : "play";
  });
}

/* Moving parts are made when they come near the screen, and again when light becomes dark. */
const watch = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries)
    if (isIntersecting && !target.childElementCount) demos[target.dataset.demo](target);
}, { rootMargin: "500px" });
for (const place of document.querySelectorAll(".demo")) watch.observe(place);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const place of document.querySelectorAll(".demo")) {
    place.replaceChildren();
    watch.unobserve(place);
    watch.observe(place);
  }
});

window.lab = { descend, layers, gaussians, deviation, dropout, clouds, correct, Network, surfaces };
