// What the distance from the center costs a nominal and an anomalous sample, and how hard it is pulled or pushed.
(() => {
  "use strict";
  const h = (r) => r * r / (Math.sqrt(r * r + 1) + 1), slope = (r) => r / Math.sqrt(r * r + 1);
  const OBJECTIVES = { // loss and gradient, by distance r; Deep SAD with eta = 1
    hsc: {
      nominal: [h, slope],
      anomalous: [(r) => -Math.log(-Math.expm1(-h(r))), (r) => -slope(r) / Math.expm1(h(r))],
    },
    "deep-sad": {
      nominal: [(r) => r * r, (r) => 2 * r],
      anomalous: [(r) => 1 / (r * r), (r) => -2 / r ** 3],
    },
  };

  window.fcddDemos.figure("push_pull", {
    state: { objective: "hsc", distance: 1 },
    begin(demo) {
      const { data, state } = demo, least = 0.05;
      demo.known("objective", Object.keys(OBJECTIVES));
      demo.buttons("Objective", { HSC: { objective: "hsc" }, "Deep SAD": { objective: "deep-sad" } });
      demo.buttons("Sample", {
        "at the center": { distance: least }, "close to it": { distance: 0.5 }, "far away": { distance: 3.5 },
      });
      demo.slider({
        key: "distance", label: "distance of φ(x) from the center", min: least, max: data.reach,
        format: (value) => value.toFixed(2),
      });
      const x = { range: [0, data.reach], label: "distance from the center" };
      const panels = [
        demo.axes({ title: "loss", x, y: { range: [0, 5], label: "loss" } }),
        demo.axes({ title: "gradient", x, y: { range: [-4, 4], label: "pull above 0, push below" } }),
      ];
      demo.paint(panels[1].layer(), [["path", { class: "line thin", d: panels[1].path([[0, 0], [data.reach, 0]]) }]]);
      const curves = panels.map((panel) => panel.layer());
      const rings = panels.map((panel, k) => demo.drag(panel, {
        label: `${k ? "Gradient" : "Loss"} over the distance, and a sample. Arrow keys move it.`, only: "x",
        count: () => 1, at: () => [state.distance, k ? 0 : 2.5],
        move: (_, a) => demo.set({ distance: Number(Math.max(least, a).toFixed(3)) }),
      }));
      const all = Array.from({ length: 400 }, (_, k) => (k + 1) * data.reach / 400);

      demo.draw = () => {
        const objective = OBJECTIVES[state.objective], r = state.distance;
        curves.forEach((layer, k) => demo.paint(layer, [
          ["path", { class: "line dashed", d: panels[k].path([[r, panels[k].y.range[0]], [r, panels[k].y.range[1]]]) }],
          ...["nominal", "anomalous"].flatMap((kind) => [
            ["path", { class: `line bold ${kind}`, d: panels[k].path(all.map((a) => [a, objective[kind][k](a)])) }],
            ["circle", { class: `${kind} edge`, r: 6, cx: panels[k].px(r), cy: panels[k].py(objective[kind][k](r)) }],
          ]),
          ...(k ? [] : [["text", { x: 322, y: 40, class: "end nominal" }, "nominal"],
            ["text", { x: 322, y: 56, class: "end anomalous" }, "anomalous"]]),
        ]));
        rings.forEach((ring) => ring());
        const [nominal, anomalous] = ["nominal", "anomalous"].map((kind) => objective[kind].map((f) => f(r)));
        const short = (value) => (Math.abs(value) < 1000 ? value.toFixed(3) : value.toExponential(2));
        demo.tell(
          "At distance ", ["distance", r, r.toFixed(2)], " a nominal sample costs ",
          ["nominal", nominal[0], short(nominal[0])], " and is pulled with ",
          ["pull", nominal[1], short(nominal[1])], "; an anomalous one costs ",
          ["anomalous", anomalous[0], short(anomalous[0])], " and is pushed with ",
          ["push", anomalous[1], short(-anomalous[1])], ".",
        );
      };
    },
  });
})();
