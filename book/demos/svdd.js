// SVDD in the plane: points are dragged, nu and gamma slide, the smallest sphere of the kernel's space is solved anew.
(() => {
  "use strict";

  // The dual, min a'Ka - sum_i a_i K_ii with sum a = 1 and 0 <= a_i <= C, by SMO: of all pairs the one that violates
  // the conditions of the optimum most exchanges weight, as much as helps and fits. K is the kernel matrix.
  function solve(K, C, tolerance = 1e-9) {
    const n = K.length, alpha = new Float64Array(n);
    for (let i = 0, left = 1; i < n && left > 0; i++) left -= alpha[i] = Math.min(C, left);
    const slope = K.map((row, i) => 2 * row.reduce((sum, k, j) => sum + k * alpha[j], 0) - row[i]);
    for (let step = 0; step < 100000; step++) {
      let far = -1, near = -1; // who should get weight, and who should give it
      for (let i = 0; i < n; i++) {
        if (alpha[i] < C && (far < 0 || slope[i] < slope[far])) far = i;
        if (alpha[i] > 0 && (near < 0 || slope[i] > slope[near])) near = i;
      }
      if (far < 0 || slope[near] - slope[far] < tolerance) break;
      const bend = 2 * (K[far][far] + K[near][near] - 2 * K[far][near]);
      let weight = Math.min(C - alpha[far], alpha[near]);
      if (bend > 0) weight = Math.min(weight, (slope[near] - slope[far]) / bend);
      if (weight === C - alpha[far]) alpha[far] = C; // to the bound itself, not to a rounded sum near it
      else alpha[far] += weight;
      if (weight === alpha[near]) alpha[near] = 0;
      else alpha[near] -= weight;
      for (let i = 0; i < n; i++) slope[i] += 2 * weight * (K[i][far] - K[i][near]);
    }
    return alpha;
  }

  function sphere(points, nu, gamma) {
    const C = 1 / (nu * points.length), us = points.map(([u]) => u), vs = points.map(([, v]) => v);
    const alpha = solve(points.map(([x, y]) => us.map((u, i) => (
      Math.exp(-gamma * ((x - u) ** 2 + (y - vs[i]) ** 2))
    ))), C);
    const held = [...points.keys()].filter((i) => alpha[i] > 0);
    const product = (x, y) => {
      let sum = 0;
      for (const i of held) sum += alpha[i] * Math.exp(-gamma * ((x - us[i]) ** 2 + (y - vs[i]) ** 2));
      return sum;
    };
    const center = held.reduce((sum, i) => sum + alpha[i] * product(us[i], vs[i]), 0); // its squared length
    const distance = (x, y) => 1 - 2 * product(x, y) + center;
    const all = points.map(([x, y]) => distance(x, y)), open = all.filter((_, i) => alpha[i] < C);
    const square = (open.length ? Math.max(...open) : Math.min(...all)) * (1 + 1e-9); // R^2, as the library takes it
    return { alpha, distance, square, farthest: 1 + center, outside: all.map((each) => each > square) };
  }

  window.fcddDemos.sphere = sphere;
  window.fcddDemos.figure("svdd", {
    needs: ["contours.js"],
    state: { preset: "two moons", nu: 0.2, gamma: 2, points: [] },
    begin(demo) {
      const { data, state } = demo, { lines, inside } = window.fcddDemos.contours;
      demo.known("preset", Object.keys(data.presets));
      const preset = () => data.presets[state.preset];
      const moved = () => state.points.length === 2 * preset().length;
      const points = () => (moved() ? preset().map((_, i) => state.points.slice(2 * i, 2 * i + 2)) : preset());
      const choices = Object.keys(data.presets).map((name) => [name, { preset: name, points: [] }]);
      demo.buttons("Points", Object.fromEntries(choices));
      const fixed = (value) => value.toFixed(2);
      demo.slider({ key: "nu", label: "ν, at most the share outside", min: 0.02, max: 1, format: fixed });
      demo.slider({ key: "gamma", label: "γ, the kernel’s narrowness", min: 0.05, max: 50, log: true });
      const plot = demo.axes({
        width: 440, height: 372,
        x: { range: data.x, label: "first feature" }, y: { range: data.y, label: "second feature" },
      });
      const [plane, marks] = [plot.layer(), plot.layer()];
      const label = "Points in the plane. Arrow keys move the chosen point, Page Up and Page Down choose another.";
      const ring = demo.drag(plot, {
        label, count: () => preset().length, at: (i) => points()[i],
        move: (i, x, y) => {
          const all = points().flatMap((point, k) => (k === i ? [x, y] : point));
          demo.set({ points: all.map((each) => Number(each.toFixed(3))) });
        },
      });

      demo.draw = () => {
        const all = points(), { alpha, distance, square, farthest, outside } = sphere(all, state.nu, state.gamma);
        const grid = window.fcddDemos.contours.grid(plot, 60, distance);
        const levels = [0.25, 0.5, 0.75].map((share) => square + share * (farthest - square));
        demo.paint(plane, [
          ["path", { class: "tint", d: inside(grid, square) }],
          ...levels.map((level) => ["path", { class: "line thin", d: lines(grid, level) }]),
          ["path", { class: "line bold", d: lines(grid, square) }],
        ]);
        demo.paint(marks, all.flatMap(([x, y], i) => {
          const at = { cx: plot.px(x).toFixed(1), cy: plot.py(y).toFixed(1) };
          const dot = ["circle", { ...at, r: 4.5, class: outside[i] ? "anomalous edge" : "nominal edge" }];
          return alpha[i] > 0 ? [dot, ["circle", { ...at, r: 8, class: "halo anomalous" }]] : [dot];
        }));
        ring();
        const count = outside.filter(Boolean).length, support = alpha.filter((weight) => weight > 0).length;
        const percent = (share) => `${(100 * share).toFixed(1)} %`, n = all.length;
        demo.tell(
          "Outside the sphere (orange): ", ["outside", count / n, percent(count / n)],
          ` (${count} of ${n}) ≤ ν = ${percent(state.nu)} ≤ support vectors (ringed): `,
          ["support", support / n, percent(support / n)],
          ` (${support} of ${n}). R² = `, ["square", square, square.toFixed(3)],
        );
      };
    },
  });
})();
