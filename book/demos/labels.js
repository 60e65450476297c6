// Deep SAD in the plane: labelled anomalies are dragged, eta slides, and a small network is trained anew each time.
(() => {
  "use strict";
  const LEAK = 0.01;

  // Two layers without biases from 2 features over ``width`` hidden units to 2 outputs; all weights in one list, the
  // first layer's by unit, then the second's by output. The score is the squared distance of the output to the center.
  function network(weights, center) {
    const width = weights.length / 4, hidden = new Float64Array(width);
    const forward = (x, y) => {
      let u = -center[0], v = -center[1];
      for (let k = 0; k < width; k++) {
        const before = weights[2 * k] * x + weights[2 * k + 1] * y;
        hidden[k] = before > 0 ? before : LEAK * before;
        u += weights[2 * width + k] * hidden[k];
        v += weights[3 * width + k] * hidden[k];
      }
      return [u, v];
    };
    const score = (x, y) => {
      const [u, v] = forward(x, y);
      return u * u + v * v;
    };
    return { width, hidden, forward, score };
  }

  // Deep SAD: d if unlabelled, eta / d if a labelled anomaly, to which the library adds 1e-6; by all points at once.
  function train({ weights: start, center, steps, rate }, points, labelled, eta) {
    const weights = Float64Array.from(start.flat(2)), all = [...points, ...labelled];
    const [gradient, mean, square] = [0, 1, 2].map(() => new Float64Array(weights.length));
    const { width, hidden, forward, score } = network(weights, center);
    for (let step = 1; step <= steps; step++) {
      gradient.fill(0);
      for (let i = 0; i < all.length; i++) {
        const [x, y] = all[i], [u, v] = forward(x, y), d = u * u + v * v;
        const slope = (i < points.length ? 1 : -eta / (d + 1e-6) ** 2) / all.length; // of the loss by d
        for (let k = 0; k < width; k++) {
          gradient[2 * width + k] += 2 * slope * u * hidden[k];
          gradient[3 * width + k] += 2 * slope * v * hidden[k];
          const back = 2 * slope * (u * weights[2 * width + k] + v * weights[3 * width + k]);
          const inner = hidden[k] > 0 ? back : LEAK * back;
          gradient[2 * k] += inner * x;
          gradient[2 * k + 1] += inner * y;
        }
      }
      for (let k = 0; k < weights.length; k++) { // Adam
        mean[k] = 0.9 * mean[k] + 0.1 * gradient[k];
        square[k] = 0.999 * square[k] + 0.001 * gradient[k] ** 2;
        weights[k] -= rate * (mean[k] / (1 - 0.9 ** step)) / (Math.sqrt(square[k] / (1 - 0.999 ** step)) + 1e-8);
      }
    }
    const loss = all.reduce((sum, [x, y], i) => {
      const d = score(x, y);
      return sum + (i < points.length ? d : eta / (d + 1e-6));
    }, 0) / all.length;
    return { score, loss };
  }

  window.fcddDemos.figure("labels", {
    needs: ["contours.js"],
    state: { eta: 1, preset: "five on one side", moved: [] },
    begin(demo) {
      const { data, state } = demo, { grid, lines, inside } = window.fcddDemos.contours;
      const presets = { ...data.presets, "no labels": [] };
      demo.known("preset", Object.keys(presets));
      const preset = () => presets[state.preset];
      const labelled = () => (state.moved.length === 2 * preset().length
        ? preset().map((_, i) => state.moved.slice(2 * i, 2 * i + 2)) : preset());
      const choices = Object.keys(presets).map((name) => [name, { preset: name, moved: [] }]);
      demo.buttons("Labels", Object.fromEntries(choices));
      demo.slider({ key: "eta", label: "η, the weight of a label", min: 0.01, max: 100, log: true });
      const plot = demo.axes({
        width: 440, height: 420,
        x: { range: data.x, label: "first feature" }, y: { range: data.y, label: "second feature" },
      });
      const [plane, marks] = [plot.layer(), plot.layer()];
      const label = "Unlabelled points and labelled anomalies. Page Up and Page Down choose one, arrow keys move it.";
      const ring = demo.drag(plot, {
        label, count: () => Math.max(1, labelled().length), at: (i) => labelled()[i] ?? [NaN, NaN],
        move: (i, x, y) => {
          const all = labelled().flatMap((point, k) => (k === i ? [x, y] : point));
          demo.set({ moved: all.map((each) => Number(each.toFixed(3))) });
        },
      });

      demo.draw = () => {
        const known = labelled(), { score, loss } = train(data, data.points, known, state.eta);
        const scores = data.points.map(([x, y]) => score(x, y));
        const level = [...scores].sort((a, b) => a - b)[Math.floor(0.9 * scores.length) - 1];
        const seen = grid(plot, 72, score);
        demo.paint(plane, [
          ["path", { class: "tint", d: inside(seen, level) }],
          ...[4, 16].map((more) => ["path", { class: "line thin", d: lines(seen, more * level) }]),
          ["path", { class: "line bold", d: lines(seen, level) }],
        ]);
        const at = ([x, y]) => [plot.px(x), plot.py(y)];
        demo.paint(marks, [
          ...data.points.map(at).map(([cx, cy]) => ["circle", { cx, cy, r: 4, class: "nominal edge" }]),
          ...data.unseen.map(at).map(([x, y]) => [
            "path", { class: "line soft", d: `M${x - 3.5} ${y - 3.5}l7 7m0 -7l-7 7` },
          ]),
          ...known.map(at).map(([x, y]) => ["path", {
            class: "anomalous edge", d: `M${x - 8} ${y + 6}L${x} ${y - 8}L${x + 8} ${y + 6}Z`,
          }]),
        ]);
        ring();
        const outside = (points) => points.filter(([x, y]) => score(x, y) > level).length;
        const [of_known, of_unseen] = [outside(known), outside(data.unseen)];
        demo.tell(
          "The outline holds nine of ten unlabelled points (blue). Outside lie ",
          ["known", of_known, String(of_known)], ` of ${known.length} labelled anomalies (triangles) and `,
          ["unseen", of_unseen, String(of_unseen)], ` of ${data.unseen.length} that nobody labelled (crosses). `,
          `Loss after ${data.steps} steps: `, ["loss", loss, loss.toPrecision(4)], ".",
        );
      };
    },
  });
})();
