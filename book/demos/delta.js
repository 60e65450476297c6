// The pseudo-Huber function between L1 and L2: delta says where the one turns into the other.
(() => {
  "use strict";
  const huber = (z, delta) => delta * delta * (Math.sqrt(1 + (z / delta) ** 2) - 1);
  const CURVES = { // value and gradient
    L1: [(z) => Math.abs(z), (z) => Math.sign(z)],
    L2: [(z) => z * z / 2, (z) => z],
    "pseudo-Huber": [huber, (z, delta) => z / Math.sqrt(1 + (z / delta) ** 2)],
  };
  const LOOK = { L1: "line dotted soft bold", L2: "line dashed soft", "pseudo-Huber": "line bold nominal" };

  window.fcddDemos.figure("delta", {
    state: { delta: 1, z: 1.5 },
    begin(demo) {
      const { data, state } = demo, reach = data.reach;
      demo.buttons("δ", {
        "0.1: nearly δ · L1": { delta: 0.1 }, "1: FCDD’s": { delta: 1 }, "10: nearly L2": { delta: 10 },
      });
      demo.slider({ key: "delta", label: "δ, where L2 turns into L1", min: 0.1, max: 10, log: true });
      const x = { range: [-reach, reach], label: "network output z" };
      const panels = [
        demo.axes({ title: "value", x, y: { range: [0, 3], label: "value" } }),
        demo.axes({ title: "gradient", x, y: { range: [-3, 3], label: "gradient" } }),
      ];
      const layers = panels.map((panel) => panel.layer());
      const rings = panels.map((panel, k) => demo.drag(panel, {
        label: `${k ? "Gradient" : "Value"} over the output z. Arrow keys move z.`, only: "x", count: () => 1,
        at: () => [state.z, k ? 0 : 1.5], move: (_, a) => demo.set({ z: Number(a.toFixed(3)) }),
      }));
      const all = Array.from({ length: 301 }, (_, k) => reach * (k / 150 - 1));

      demo.draw = () => {
        const { delta } = state, z = demo.within(state.z, -reach, reach);
        layers.forEach((layer, k) => demo.paint(layer, [
          ["path", { class: "line thin", d: panels[k].path([[z, panels[k].y.range[0]], [z, panels[k].y.range[1]]]) }],
          ...Object.entries(CURVES).flatMap(([name, both]) => [
            ["path", { class: LOOK[name], d: panels[k].path(all.map((a) => [a, both[k](a, delta)])) }],
            ["circle", { class: name[0] === "p" ? "nominal edge" : "other edge", r: name[0] === "p" ? 6 : 4,
              cx: panels[k].px(z), cy: panels[k].py(both[k](z, delta)) }],
          ]),
        ]));
        demo.paint(keys, Object.keys(CURVES).flatMap((name, k) => [
          ["path", { class: LOOK[name], d: `M62 ${44 + 16 * k}h26` }], ["text", { x: 94, y: 48 + 16 * k }, name],
        ]));
        rings.forEach((ring) => ring());
        const told = Object.entries(CURVES).flatMap(([name, both]) => {
          const [value, gradient] = both.map((f) => f(z, delta));
          return [`; ${name}: `, [`${name} value`, value, value.toFixed(3)], " with gradient ",
            [`${name} gradient`, gradient, gradient.toFixed(3)]];
        });
        demo.tell("At z = ", ["z", z, z.toFixed(2)], ` and δ = ${delta}`, ...told, ".");
      };
      const keys = panels[1].layer();
    },
  });
})();
