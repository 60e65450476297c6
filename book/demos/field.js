// A cell of the map, the box of the picture that it sees, and the Gaussian that it paints.
(() => {
  "use strict";
  const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

  // Layer by layer: extent of the field, step from one cell's field to the next, place of the first one's middle.
  function receptiveField(layers) {
    let extent = 1, stride = 1, offset = 0;
    for (const [, kernel, step, padding] of layers) {
      offset += ((kernel - 1) / 2 - padding) * stride;
      extent += (kernel - 1) * stride;
      stride *= step;
    }
    return { extent, stride, offset };
  }

  window.fcddDemos.figure("field", {
    state: { network: "fcdd_cnn28", row: 2, column: 4, sigma: 1.2 },
    begin(demo) {
      const { data, state, make } = demo, { bytes } = window.fcddDemos;
      const pictures = {};
      for (const [side, text] of Object.entries(data.pictures)) {
        pictures[side] = Array.from(bytes(text), (grey) => grey / 255);
      }
      demo.known("network", Object.keys(data.networks));
      demo.buttons("Network", Object.fromEntries(Object.keys(data.networks).map((name) => [name, { network: name }])));
      demo.slider({
        key: "sigma", label: "σ of the Gaussian, px", min: 0.4, max: 6, step: 0.1, format: (sigma) => sigma.toFixed(1),
      });
      demo.buttons("Cell", { "in the middle": { row: 3, column: 3 }, "in the corner": { row: 0, column: 0 } });
      let shown, left, middle, right;

      function build(network) { // pictures have the sizes of the network's
        demo.panels.replaceChildren();
        const { size, map: cells } = network, frame = (caption, side, more = {}) => demo.picture({
          columns: side, rows: side, label: caption, caption, ...more,
        });
        left = frame(`the picture, ${size} × ${size} px, with the field`, size);
        middle = frame(`the map, ${cells} × ${cells} cells: choose one`, cells);
        right = frame("what the cell paints", size, { colours: data.colours, top: 1 });
        left.show(pictures[size]);
        middle.frame.setAttribute("tabindex", 0);
        middle.frame.setAttribute("role", "application");
        middle.frame.setAttribute("aria-label", "The map. Arrow keys choose a cell.");
        middle.frame.style.cursor = left.frame.style.cursor = "pointer";
        const choose = (row, column) => demo.set({
          row: demo.within(Math.round(row), 0, cells - 1), column: demo.within(Math.round(column), 0, cells - 1),
        });
        const { stride, offset } = receptiveField(network.layers);
        const pointed = [[left, (pixel) => (pixel - offset) / stride], [middle, Number]];
        for (const [picture, cell] of pointed) {
          const follow = (event) => {
            const [column, row] = picture.at(event);
            if (event.buttons || event.type === "pointerdown") choose(cell(row), cell(column));
          };
          picture.frame.addEventListener("pointerdown", follow);
          picture.frame.addEventListener("pointermove", follow);
        }
        middle.frame.addEventListener("keydown", (event) => {
          const step = ARROWS[event.key];
          if (!step) return;
          event.preventDefault();
          choose(state.row + step[0], state.column + step[1]);
        });
      }

      demo.draw = () => {
        const network = data.networks[state.network];
        if (shown !== network) build(shown = network);
        const { extent, stride, offset } = receptiveField(network.layers), { size, map: cells } = network;
        const [row, column] = [state.row, state.column].map((each) => demo.within(Math.round(each), 0, cells - 1));
        const center = (cell) => offset + stride * cell, first = (cell) => center(cell) - (extent - 1) / 2;
        const centers = Array.from({ length: cells }, (_, cell) => center(cell) + 0.5);
        demo.paint(left.over, [
          ...centers.flatMap((cy) => centers.map((cx) => ["circle", { cx, cy, r: 0.3, class: "cell" }])),
          ["rect", { x: first(column), y: first(row), width: extent, height: extent, class: "box" }],
          ["circle", { cx: centers[column], cy: centers[row], r: 0.55, class: "here" }],
        ]);
        middle.show(Array.from({ length: cells * cells }, (_, i) => (i === row * cells + column ? 1 : 0.12)));
        // Taps of the Gaussian as receptive.gaussian_kernel has them: of an even extent the middle one is doubled.
        const tap = (pixel, cell) => {
          const half = Math.floor((extent - 1) / 2), even = extent % 2 === 0;
          const place = pixel - Math.floor(offset) + half - stride * cell;
          if (place < 0 || place >= extent) return 0;
          const away = place - half - (even && place > half);
          return Math.exp(-away * away / (2 * state.sigma ** 2)) / (even ? 2 : 1);
        };
        const of = (i) => tap(Math.floor(i / size), row) * tap(i % size, column);
        const painted = Array.from({ length: size * size }, (_, i) => of(i));
        const peak = Math.max(...painted);
        right.show(painted.map((each) => each / peak));
        const same = { x: first(column), y: first(row), width: extent, height: extent, class: "box thin" };
        demo.paint(right.over, [["rect", same]]);
        const [top, left_side] = [row, column].map(first);
        const [bottom, right_side] = [top, left_side].map((side) => side + extent - 1);
        const beyond = top < 0 || left_side < 0 || bottom >= size || right_side >= size;
        const number = (name, value) => [name, value, String(value)];
        const layers = network.layers.map(([kind, k, by]) => `${kind} ${k} × ${k}${by > 1 ? `, step ${by}` : ""}`);
        demo.tell(
          `${state.network}: ${layers.join(" → ")}. Extent `, number("extent", extent), " px, stride ",
          number("stride", stride), ", offset ", number("offset", offset), ". The cell in row ", number("row", row),
          ", column ", number("column", column), ", sees rows ", number("top", top), " to ", number("bottom", bottom),
          " and columns ", number("left", left_side), " to ", number("right", right_side),
          beyond ? "; beyond the border it sees zeros." : ".",
        );
      };
    },
  });
})();
