// A defect drawn on a real picture: the network runs with each stroke, and the map answers.
(() => {
  "use strict";
  const SIDE = 28, FAR = 12; // px; from there on a stroke has no say, as the field is 16 px wide
  const ARROWS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -SIDE, ArrowDown: SIDE };

  window.fcddDemos.figure("draw", {
    needs: ["fcdd_cnn28.js"],
    state: { picture: 1, tone: 255, strokes: [] },
    begin(demo) {
      const { data, state, make } = demo, { cnn28, bytes } = window.fcddDemos;
      const pictures = data.pictures.map((text) => Array.from(bytes(text), (grey) => grey / 255));
      const clean = pictures.map((picture) => cnn28(picture, data.network));
      demo.buttons(data.normal, Object.fromEntries(pictures.map((_, i) => [String(i + 1), { picture: i + 1 }])));
      const presets = Object.entries(data.strokes).map(([name, pixels]) => [name, { strokes: pixels.flat() }]);
      demo.buttons("Strokes", Object.fromEntries(presets));
      demo.buttons("Brush", { bright: { tone: 255 }, grey: { tone: 128 }, dark: { tone: 0 }, eraser: { tone: -1 } });
      const label = "The picture. Drag to draw. Arrow keys move the brush, Space draws, Delete erases.";
      const left = demo.picture({ columns: SIDE, rows: SIDE, label, caption: "the picture: draw on it" });
      const right = demo.picture({
        columns: SIDE, rows: SIDE, label: "The heatmap of the picture.", caption: "heatmap A′, upsampled from 7 × 7",
        colours: data.colours, top: data.top,
      });
      const brush = make("rect", { width: 2, height: 2, class: "brush" });
      left.over.append(brush);
      Object.assign(left.frame.style, { touchAction: "none", cursor: "crosshair" });
      left.frame.setAttribute("tabindex", 0);
      left.frame.setAttribute("role", "application");

      const strokes = () => {
        const pairs = new Map();
        for (let k = 0; k + 1 < state.strokes.length; k += 2) pairs.set(state.strokes[k], state.strokes[k + 1]);
        return pairs;
      };
      let corner = 13 * SIDE + 13; // of the brush, 2 x 2 pixels
      function paint(tone) {
        const pairs = strokes();
        for (const pixel of [corner, corner + 1, corner + SIDE, corner + SIDE + 1]) {
          pairs.delete(pixel);
          if (tone >= 0) pairs.set(pixel, tone);
        }
        demo.set({ strokes: [...pairs].flat() });
      }
      function move(event) {
        const [column, row] = left.at(event).map((each) => Math.min(each, SIDE - 2));
        corner = row * SIDE + column;
        if (event.buttons || event.type === "pointerdown") paint(state.tone);
        else demo.set({}, false);
      }
      left.frame.addEventListener("pointerdown", (event) => {
        left.frame.setPointerCapture(event.pointerId);
        move(event);
      });
      left.frame.addEventListener("pointermove", move);
      left.frame.addEventListener("keydown", (event) => {
        const step = ARROWS[event.key], draws = { " ": state.tone, Delete: -1, Backspace: -1 }[event.key];
        if (step === undefined && draws === undefined) return;
        event.preventDefault();
        const column = corner % SIDE + (Math.abs(step) === 1 ? step : 0);
        const row = Math.floor(corner / SIDE) + (Math.abs(step) === SIDE ? step / SIDE : 0);
        corner = demo.within(row, 0, SIDE - 2) * SIDE + demo.within(column, 0, SIDE - 2);
        if (step === undefined) paint(draws);
        else demo.set({}, false);
      });

      demo.draw = () => {
        const number = demo.within(Math.round(state.picture), 1, pictures.length) - 1;
        const pairs = [...strokes()].filter(([pixel, tone]) => pixel in pictures[number] && tone >= 0 && tone <= 255);
        const picture = pictures[number].slice();
        for (const [pixel, tone] of pairs) picture[pixel] = tone / 255;
        const { score, heat } = cnn28(picture, data.network), before = clean[number];
        left.show(picture);
        right.show(heat);
        brush.setAttribute("x", corner % SIDE);
        brush.setAttribute("y", Math.floor(corner / SIDE));
        const row = (pixel) => Math.floor(pixel / SIDE);
        const away = (a, b) => Math.max(Math.abs(a % SIDE - b % SIDE), Math.abs(row(a) - row(b)));
        const rises = Array.from(heat, (each, i) => each - before.heat[i]);
        const under = pairs.reduce((sum, [pixel]) => sum + rises[pixel], 0) / pairs.length;
        const far = rises.filter((_, i) => pairs.every(([pixel]) => away(i, pixel) > FAR));
        const most = Math.max(...far.map(Math.abs));
        const verdict = score > data.threshold ? "anomalous" : "nominal";
        demo.tell(
          "Score: ", ["score", score, score.toFixed(3)], `, without strokes ${before.score.toFixed(3)}; `,
          `the threshold is ${data.threshold.toFixed(3)}, so it is called ${verdict}. `,
          ...(pairs.length ? ["The heat under the strokes changed by ", ["under", under, under.toFixed(3)]] : []),
          ...(pairs.length && far.length
            ? [`, and more than ${FAR} px away by at most `, ["far", most, most.toFixed(3)]] : []),
          ...(pairs.length ? ["."] : []),
        );
      };
    },
  });
})();
