// What the figures share: state that the address keeps, controls, axes, handles for mouse, finger and keyboard,
// pictures, and numbers told in words. A figure changes its state with set() and draws what the state says.
(() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";
  const SHAPES = new Set(["svg", "g", "path", "circle", "rect", "line", "text", "clipPath", "defs", "polygon"]);

  function make(tag, attributes = {}, ...children) {
    const element = SHAPES.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) {
      if (value !== undefined && value !== false) element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  }

  const paint = (layer, shapes) => layer.replaceChildren(...shapes.map((shape) => make(...shape)));
  const within = (value, low, high) => Math.min(high, Math.max(low, value));

  // ---- state, in the address: #demo-svdd?nu=0.1&points=1,2,3 ----

  function read(name, defaults) {
    const [id, text] = location.hash.slice(1).split("?");
    const found = {};
    if (id !== `demo-${name}` || !text) return found;
    for (const [key, value] of new URLSearchParams(text)) {
      if (!(key in defaults)) continue;
      if (Array.isArray(defaults[key])) {
        const list = value.split(",").filter(Boolean).map(Number);
        if (list.every(Number.isFinite)) found[key] = list;
      } else if (typeof defaults[key] === "number") {
        if (value !== "" && Number.isFinite(Number(value))) found[key] = Number(value);
      } else found[key] = value;
    }
    return found;
  }

  function keep(name, state, defaults) {
    const changed = Object.keys(defaults).filter((key) => String(state[key]) !== String(defaults[key]));
    const text = changed.map((key) => `${key}=${encodeURIComponent(state[key]).replaceAll("%2C", ",")}`).join("&");
    history.replaceState(null, "", `#demo-${name}?${text}`);
  }

  // ---- axes ----

  function ticks([low, high], wanted = 5) {
    const rough = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough);
    const first = Math.ceil(low / step - 1e-9);
    const count = Math.floor(high / step + 1e-9) - first + 1;
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    return Array.from({ length: count }, (_, k) => (first + k) * step).map((at) => [at, at.toFixed(digits)]);
  }

  let clips = 0;

  function axes(panels, { width = 340, height = 270, x, y, title, label }) {
    const box = { left: 50, right: width - 12, top: title ? 26 : 12, bottom: height - 42 };
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, class: "axes", "aria-label": label, role: "img" });
    const clip = `fcdd-clip-${clips++}`;
    const px = (value) => box.left + (value - x.range[0]) / (x.range[1] - x.range[0]) * (box.right - box.left);
    const py = (value) => box.bottom - (value - y.range[0]) / (y.range[1] - y.range[0]) * (box.bottom - box.top);
    const frame = [["path", { class: "frame", d: `M${box.left} ${box.top}V${box.bottom}H${box.right}` }]];
    for (const [at, text] of x.ticks ?? ticks(x.range)) {
      frame.push(["path", { class: "frame", d: `M${px(at)} ${box.bottom}v5` }]);
      frame.push(["text", { x: px(at), y: box.bottom + 17, class: "middle" }, text.replace("-", "\u2212")]);
    }
    for (const [at, text] of y.ticks ?? ticks(y.range)) {
      frame.push(["path", { class: "frame", d: `M${box.left} ${py(at)}h-5` }]);
      frame.push(["text", { x: box.left - 8, y: py(at) + 4, class: "end" }, text.replace("-", "\u2212")]);
    }
    const middle = (box.top + box.bottom) / 2;
    frame.push(["text", { x: (box.left + box.right) / 2, y: height - 8, class: "middle label" }, x.label]);
    frame.push(["text", { x: 13, y: middle, class: "middle label", transform: `rotate(-90 13 ${middle})` }, y.label]);
    if (title) frame.push(["text", { x: (box.left + box.right) / 2, y: 15, class: "middle title" }, title]);
    const size = { x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top };
    svg.append(make("clipPath", { id: clip }, make("rect", size)));
    const background = make("g", {});
    paint(background, frame);
    svg.append(background);
    panels.append(svg);
    return {
      svg, px, py, box, x, y,
      layer(kind = "") {
        const group = make("g", { class: kind, "clip-path": `url(#${clip})` });
        svg.append(group);
        return group;
      },
      path(points) {
        const shown = points.filter(([a, b]) => Number.isFinite(a) && Number.isFinite(b));
        const far = (pixel) => within(pixel, -5000, 5000).toFixed(1);
        return shown.map(([a, b], k) => `${k ? "L" : "M"}${far(px(a))} ${far(py(b))}`).join("");
      },
      at(event) { // where in the data, and pixels of the screen for each unit of the drawing
        const seen = svg.getBoundingClientRect(), scale = width / seen.width;
        const [u, v] = [(event.clientX - seen.left) * scale, (event.clientY - seen.top) * scale];
        return [
          x.range[0] + (u - box.left) / (box.right - box.left) * (x.range[1] - x.range[0]),
          y.range[0] + (box.bottom - v) / (box.bottom - box.top) * (y.range[1] - y.range[0]), u, v, scale,
        ];
      },
    };
  }

  // Handles on axes: the one nearest to mouse or finger is dragged; arrow keys move the chosen one (Shift: finely),
  // Page Up and Page Down choose. handles: {count(), at(i) -> [x, y], move(i, x, y), label}, and if wanted
  // only: "x" for lines and step(by, fine), what an arrow key does. Returns what redraws the chosen one's ring.
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

  function drag(plot, handles) {
    const { svg, px, py, x, y } = plot, ring = make("circle", { r: 11, class: "ring" });
    let chosen = 0, held = false;
    svg.append(ring);
    svg.setAttribute("tabindex", 0);
    svg.setAttribute("role", "application");
    svg.setAttribute("aria-label", handles.label);
    const move = (i, a, b) => handles.move(i, within(a, ...x.range), within(b, ...y.range));
    const show = () => {
      chosen = Math.min(chosen, handles.count() - 1);
      const [a, b] = handles.at(chosen);
      ring.setAttribute("cx", px(a));
      ring.setAttribute("cy", py(b));
    };
    const near = (event) => {
      const [, , u, v, scale] = plot.at(event);
      const far = (i) => {
        const [a, b] = handles.at(i);
        return Math.hypot(px(a) - u, handles.only === "x" ? 0 : py(b) - v);
      };
      const all = Array.from({ length: handles.count() }, (_, i) => i);
      const best = all.reduce((one, other) => (far(other) < far(one) ? other : one), 0);
      return far(best) < 26 * scale ? best : -1;
    };
    svg.addEventListener("pointerdown", (event) => {
      const found = near(event);
      if (found < 0) return;
      chosen = found;
      held = true;
      svg.setPointerCapture(event.pointerId);
      show();
    });
    svg.addEventListener("pointermove", (event) => {
      if (held) move(chosen, ...plot.at(event).slice(0, 2));
      else svg.style.cursor = near(event) < 0 ? "" : "grab";
    });
    for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { held = false; });
    // A finger on a handle drags it; anywhere else it scrolls the page.
    svg.addEventListener("touchstart", (event) => { if (near(event.touches[0]) >= 0) event.preventDefault(); },
      { passive: false });
    svg.addEventListener("keydown", (event) => {
      const arrow = ARROWS[event.key], turn = { PageUp: -1, PageDown: 1 }[event.key];
      if (!arrow && !turn) return;
      event.preventDefault();
      const steps = event.shiftKey ? 200 : 40, [a, b] = handles.at(chosen);
      const step = (side) => (side.range[1] - side.range[0]) / steps;
      if (turn) chosen = (chosen + turn + handles.count()) % handles.count();
      else if (handles.step) handles.step(arrow[0] + arrow[1], event.shiftKey);
      else move(chosen, a + arrow[0] * step(x), b + arrow[1] * step(y));
      show();
    });
    return show;
  }

  // ---- pictures ----

  // Bytes that Python wrote as text.
  window.fcddDemos.bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  // The colours of a heatmap as a bar, from 0 to what is brightest.
  function bar(colours, top) {
    const stops = colours.map((colour) => `rgb(${colour})`).join(",");
    const strip = make("i", { style: `background: linear-gradient(to right, ${stops})` });
    return make("div", { class: "scale" }, make("span", {}, "0"), strip, make("span", {}, `≥ ${top}`));
  }

  function picture(panels, { columns, rows, label, caption, colours, top }) {
    const canvas = make("canvas", { width: columns, height: rows });
    const over = make("svg", { viewBox: `0 0 ${columns} ${rows}`, class: "over" });
    const frame = make("div", { class: "canvas", role: "img", "aria-label": label }, canvas, over);
    const below = make("div", { class: "caption" }, caption);
    panels.append(make("div", { class: "picture" }, frame, ...(colours ? [bar(colours, top)] : []), below));
    const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
    const grey = (value) => [255 * value, 255 * value, 255 * value];
    const heat = (value) => colours[Math.round(value * (colours.length - 1))];
    return {
      frame, over,
      show(values) { // row by row: grey from 0 to 1, heat from 0 to the brightest
        values.forEach((value, i) => {
          const colour = colours ? heat(within(value / top, 0, 1)) : grey(within(value, 0, 1));
          image.data.set([...colour, 255], 4 * i);
        });
        context.putImageData(image, 0, 0);
      },
      at(event) {
        const seen = canvas.getBoundingClientRect();
        const column = Math.floor((event.clientX - seen.left) / seen.width * columns);
        const row = Math.floor((event.clientY - seen.top) / seen.height * rows);
        return [within(column, 0, columns - 1), within(row, 0, rows - 1)];
      },
    };
  }

  // ---- a figure ----

  window.fcddDemos.kit = function kit(root, name, data, defaults) {
    const state = { ...structuredClone(defaults), ...read(name, defaults) };
    const stage = root.querySelector(".stage");
    const panels = make("div", { class: "panels" }), controls = make("div", { class: "controls" });
    const told = make("p", { class: "told", "aria-live": "polite" });
    stage.replaceChildren(controls, panels, told);
    if (data.run) stage.append(make("p", { class: "runs" }, `run: ${data.run}`));
    const follow = [];
    let drawing = false, later;
    const redraw = () => {
      drawing = false;
      follow.forEach((each) => each());
      demo.draw();
    };
    const demo = {
      root, data, state, panels, make, paint, within, draw() {},
      set(changes, kept = true) {
        Object.assign(state, changes);
        if (!drawing) requestAnimationFrame(redraw);
        drawing = true;
        if (!kept) return;
        clearTimeout(later);
        later = setTimeout(keep, 250, name, state, defaults);
      },
      slider({ key, label, min, max, step = 0.01, log = false, format = String }) {
        const to = log ? Math.log10 : Number, from = log ? (value) => Number((10 ** value).toPrecision(3)) : Number;
        const input = make("input", { type: "range", min: to(min), max: to(max), step, "data-key": key });
        const output = make("output");
        controls.append(make("label", { class: "slider" }, make("span", {}, label), input, output));
        input.addEventListener("input", () => demo.set({ [key]: within(from(Number(input.value)), min, max) }));
        follow.push(() => {
          state[key] = within(state[key], min, max);
          input.value = to(state[key]);
          output.textContent = format(state[key]);
          input.setAttribute("aria-valuetext", format(state[key]));
        });
      },
      buttons(label, changes) { // {what is written on it: the state that it sets}
        const group = make("div", { class: "buttons", role: "group", "aria-label": label }, make("span", {}, label));
        controls.append(group);
        for (const [text, change] of Object.entries(changes)) {
          const button = make("button", { type: "button" }, text);
          group.append(button);
          button.addEventListener("click", () => demo.set(structuredClone(change)));
          follow.push(() => {
            const same = Object.keys(change).every((key) => String(change[key]) === String(state[key]));
            button.setAttribute("aria-pressed", same);
          });
        }
      },
      known(key, names) { // a name in the address that the figure does not have gives way to the first
        if (!names.includes(state[key])) state[key] = names[0];
      },
      tell(...parts) { // texts, and numbers as [name, value, text]
        told.replaceChildren(...parts.map((part) => (Array.isArray(part)
          ? make("data", { value: part[1], "data-name": part[0] }, part[2].replace("-", "\u2212")) : part)));
      },
      axes: (options) => axes(panels, options),
      drag,
      picture: (options) => picture(panels, options),
    };
    return demo;
  };
})();
