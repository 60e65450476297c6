// Deep SAD in the plane: labelled anomalies are dragged, eta slides, and a small network is trained anew each time.
(() => {
  "use strict";
  const LEAK = 0.01;

  // Two layers without biases: z = second * leaky(first * x); weights as [out][in].
  function forward([first, second], x) {
    const before = first.map(([a, b]) => a * x[0] + b * x[1]), hidden = before.map((each) => (each > 0 ? each : LEAK * each));
    return { before, hidden, z: second.map((row) => row.reduce((sum, weight, k) => sum + weight * hidden[k], 0)) };
  }

  const squared = (z, center) => (z[0] - center[0]) ** 2 + (z[1] - center[1]) ** 2;
  // Deep SAD: d if unlabelled, eta / d if a labelled anomaly; the library adds 1e-6 there.
  const loss = (d, labelled, eta) => (labelled ? eta / (d + 1e-6) : d);
  const slope = (d, labelled, eta) => (labelled ? -eta / (d + 1e-6) ** 2 : 1);

  function train({ weights, center, steps, rate }, points, labelled, eta) {
    const all = [...points.map((x) => [x, false]), ...labelled.map((x) => [x, true])];
    const now = structuredClone(weights), zeros = () => now.map((layer) => layer.map((row) => row.map(() => 0)));
    const mean = zeros(), square = zeros();
    for (let step = 1; step <= steps; step++) {
      const gradient = zeros();
      for (const [x, known] of all) {
        const { before, hidden, z } = forward(now, x), pull = slope(squared(z, center), known, eta) / all.length;
        const back = z.map((each, k) => 2 * pull * (each - center[k])); // the loss by each output
        for (let k = 0; k < hidden.length; k++) {
          const inner = (back[0] * now[1][0][k] + back[1] * now[1][1][k]) * (before[k] > 0 ? 1 : LEAK);
          gradient[1][0][k] += back[0] * hidden[k];
          gradient[1][1][k] += back[1] * hidden[k];
          gradient[0][k][0] += inner * x[0];
          gradient[0][k][1] += inner * x[1];
        }
      }
      now.forEach((layer, l) => layer.forEach((row, i) => row.forEach((_, j) => { // Adam
        const g = gradient[l][i][j], m = mean[l][i][j] = 0.9 * mean[l][i][j] + 0.1 * g;
        const v = square[l][i][j] = 0.999 * square[l][i][j] + 0.001 * g * g;
        row[j] -= rate * (m / (1 - 0.9 ** step)) / (Math.sqrt(v / (1 - 0.999 ** step)) + 1e-8);
      })));
    }
    const score = (x) => squared(forward(now, x).z, center);
    return { score, loss: all.reduce((sum, [x, known]) => sum + loss(score(x), known, eta), 0) / all.length };
  }

  window.fcddDemos.figure("labels", {
    needs: ["contours.js"],
    state: { eta: 1, preset: "five on one side", moved: [] },
    begin(demo) {
      const { data, state } = demo, { grid, lines, inside } = window.fcddDemos.contours;
      const presets = { ...data.presets, "no labels": [] };
      const preset = () => presets[state.preset] ?? presets["five on one side"];
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
      const label = "Unlabelled points and labelled anomalies. Arrow keys move the chosen one, Page Up and Page Down choose.";
      const ring = demo.drag(plot, {
        label, count: () => Math.max(1, labelled().length), at: (i) => labelled()[i] ?? [NaN, NaN],
        move: (i, x, y) => {
          const all = labelled().flatMap((point, k) => (k === i ? [x, y] : point));
          demo.set({ moved: all.map((each) => Number(each.toFixed(3))) });
        },
      });

      demo.draw = () => {
        const known = labelled(), fitted = train(data, data.points, known, state.eta), scores = data.points.map(fitted.score);
        const level = [...scores].sort((a, b) => a - b)[Math.floor(0.9 * scores.length) - 1];
        const seen = grid(plot, 80, fitted.score);
        demo.paint(plane, [
          ["path", { class: "tint", d: inside(seen, level) }],
          ...[4, 16].map((more) => ["path", { class: "line thin", d: lines(seen, more * level) }]),
          ["path", { class: "line bold", d: lines(seen, level) }],
        ]);
        const at = ([x, y]) => [plot.px(x), plot.py(y)];
        demo.paint(marks, [
          ...data.points.map(at).map(([cx, cy]) => ["circle", { cx, cy, r: 4, class: "nominal edge" }]),
          ...data.unseen.map(at).map(([x, y]) => ["path", { class: "line soft", d: `M${x - 3.5} ${y - 3.5}l7 7m0 -7l-7 7` }]),
          ...known.map(at).map(([x, y]) => ["path", {
            class: "anomalous edge", d: `M${x - 8} ${y + 6}L${x} ${y - 8}L${x + 8} ${y + 6}Z`,
          }]),
        ]);
        ring();
        const outside = (points) => points.filter((point) => fitted.score(point) > level).length;
        const [of_known, of_unseen] = [outside(known), outside(data.unseen)];
        demo.tell(
          "The outline holds nine of ten unlabelled points (blue). Outside lie ",
          ["known", of_known, String(of_known)], ` of ${known.length} labelled anomalies (triangles) and `,
          ["unseen", of_unseen, String(of_unseen)], ` of ${data.unseen.length} that nobody labelled (crosses). Loss after `,
          `${data.steps} steps: `, ["loss", fitted.loss, fitted.loss.toPrecision(4)], ".",
        );
      };
    },
  });
})();
