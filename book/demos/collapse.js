// A latent space replayed epoch by epoch: with biases the network can put every image on the center, and does.
(() => {
  "use strict";
  window.fcddDemos.figure("collapse", {
    state: { kind: "without biases", epoch: 0 },
    begin(demo) {
      const { data, state, make } = demo, kinds = data.kinds;
      const any = Object.values(kinds), last = any[0].loss.length - 1;
      demo.known("kind", Object.keys(kinds));
      demo.buttons("Network", Object.fromEntries(Object.keys(kinds).map((name) => [name, { kind: name }])));
      demo.slider({ key: "epoch", label: "epoch", min: 0, max: last, step: 1 });
      const player = make("button", { type: "button", "data-player": "" }, "play");
      demo.root.querySelector(".controls").append(player);
      let playing = 0;
      const stop = () => { clearInterval(playing); playing = 0; player.textContent = "play"; };
      player.addEventListener("click", () => {
        if (playing) return stop();
        if (state.epoch >= last) demo.set({ epoch: 0 });
        player.textContent = "pause";
        playing = setInterval(() => (state.epoch < last ? demo.set({ epoch: state.epoch + 1 }) : stop()), 180);
      });

      const all = any.flatMap((kind) => kind.frames).flat().sort((a, b) => a - b);
      const reach = Math.max(-all[Math.floor(0.005 * all.length)], all[Math.floor(0.995 * all.length)]);
      const side = { range: [-reach, reach] };
      const space = demo.axes({
        title: "latent space", width: 340, height: 330,
        x: { ...side, label: "first output" }, y: { ...side, label: "second output" },
      });
      const powers = any.flatMap((kind) => kind.loss).map((loss) => Math.log10(loss));
      const range = [Math.floor(Math.min(...powers)), Math.ceil(Math.max(...powers))];
      const exponents = Array.from({ length: range[1] - range[0] + 1 }, (_, k) => range[0] + k);
      const x = { range: [0, last], label: "epoch" };
      const raised = (power) => [...String(power)].map((sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]).join("");
      const losses = demo.axes({
        title: "loss", width: 340, height: 190, x,
        y: { range, label: "loss", ticks: exponents.map((power) => [power, `10${raised(power)}`]) },
      });
      const aurocs = demo.axes({ title: "AUROC", width: 340, height: 190, x, y: { range: [0.3, 1], label: "AUROC" } });
      demo.panels.append(make("div", { class: "column" }, losses.svg, aurocs.svg));
      const dots = space.layer(), layers = [losses, aurocs].map((plot) => plot.layer());
      const rings = [losses, aurocs].map((plot, k) => demo.drag(plot, {
        label: `${k ? "AUROC" : "Loss"} over the epochs. Arrow keys move the epoch.`, only: "x", count: () => 1,
        at: () => [state.epoch, (plot.y.range[0] + plot.y.range[1]) / 2],
        move: (_, epoch) => demo.set({ epoch: Math.round(epoch) }),
        step: (by) => demo.set({ epoch: demo.within(state.epoch + by, 0, last) }),
      }));

      demo.draw = () => {
        const kind = kinds[state.kind], epoch = Math.round(demo.within(state.epoch, 0, last));
        const frame = kind.frames[epoch];
        const points = frame.flatMap((z, i) => (i % 2 ? [] : [[z, frame[i + 1], i / 2 < data.nominal]]));
        const [a, b] = kind.center.map((each, k) => (k ? space.py(each) : space.px(each)));
        demo.paint(dots, [
          ...points.map(([u, v, nominal]) => ["circle", {
            cx: space.px(u), cy: space.py(v), r: 4, class: nominal ? "nominal edge" : "anomalous edge",
          }]),
          ["path", { class: "line bold", d: `M${a - 8} ${b}h16M${a} ${b - 8}v16` }],
          ["text", { x: 326, y: 42, class: "end nominal" }, "nominal"],
          ["text", { x: 326, y: 58, class: "end anomalous" }, "anomalous"],
          ["text", { x: a + 10, y: b - 8 }, "c"],
        ]);
        [losses, aurocs].forEach((plot, k) => {
          const values = k ? kind.auroc : kind.loss.map((loss) => Math.log10(loss));
          demo.paint(layers[k], [
            ["path", { class: "line dashed", d: plot.path([[epoch, plot.y.range[0]], [epoch, plot.y.range[1]]]) }],
            ...(k ? [["path", { class: "line dotted soft", d: plot.path([[0, 0.5], [last, 0.5]]) }]] : []),
            ["path", { class: "line bold third", d: plot.path(values.map((value, i) => [i, value])) }],
            ["circle", { class: "handle", r: 6, cx: plot.px(epoch), cy: plot.py(values[epoch]) }],
          ]);
        });
        rings.forEach((ring) => ring());
        const loss = kind.loss[epoch], auroc = kind.auroc[epoch];
        const squares = points.map(([u, v]) => (u - kind.center[0]) ** 2 + (v - kind.center[1]) ** 2);
        const spread = Math.sqrt(squares.reduce((sum, each) => sum + each) / points.length);
        demo.tell(
          `The network ${state.kind}, after `, ["epoch", epoch, String(epoch)], " epochs: loss ",
          ["loss", loss, loss.toPrecision(3)], ", AUROC ", ["auroc", auroc, auroc.toFixed(3)],
          "; the images lie ", ["spread", spread, spread.toPrecision(2)], " from the center c on average.",
        );
      };
    },
  });
})();
