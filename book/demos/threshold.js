// A threshold slides over the scores of two groups, and its point moves on the ROC.
(() => {
  "use strict";
  const BINS = 40;

  // How many of sorted numbers lie above a level, as a share.
  function above(sorted, level) {
    let low = 0, high = sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle] > level) high = middle;
      else low = middle + 1;
    }
    return (sorted.length - low) / sorted.length;
  }

  const quantile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];

  // The ROC as points, from the highest threshold to the lowest; ties make slanted parts. Its area by trapezoids.
  function roc(nominal, anomalous) {
    const levels = [...new Set([...nominal, ...anomalous])].sort((a, b) => b - a);
    return [...levels.map((level) => [above(nominal, level), above(anomalous, level)]), [1, 1]];
  }
  const area = (curve) => curve.slice(1).reduce((sum, [x, y], k) => sum + (x - curve[k][0]) * (y + curve[k][1]) / 2, 0);

  window.fcddDemos.figure("threshold", {
    state: { threshold: -1 },
    begin(demo) {
      const { data, state } = demo, { nominal, anomalous } = data;
      const top = quantile(anomalous, 0.995), curve = roc(nominal, anomalous), auroc = area(curve);
      if (state.threshold < 0) state.threshold = quantile(nominal, 0.8);
      demo.buttons("Threshold", {
        "5 % false alarms": { threshold: quantile(nominal, 0.95) },
        "20 % false alarms": { threshold: quantile(nominal, 0.8) },
        "half of the anomalies": { threshold: quantile(anomalous, 0.5) },
        "all of them": { threshold: Number((anomalous[0] - 0.001).toFixed(3)) },
      });
      demo.slider({
        key: "threshold", label: "threshold, in the unit of the scores", min: 0, max: top, step: 0.01,
        format: (value) => value.toFixed(2),
      });

      const shares = [nominal, anomalous].map((group) => Array.from({ length: BINS }, (_, k) => (
        above(group, k * top / BINS - (k ? 0 : 1)) - above(group, (k + 1) * top / BINS)
      )));
      const highest = Math.max(...shares.flat()) * 1.08;
      const scores = demo.axes({
        x: { range: [0, top], label: "anomaly score / 1000" },
        y: { range: [0, highest], label: "share of the group" }, width: 340, height: 300,
      });
      const wide = (scores.px(top) - scores.px(0)) / BINS;
      const bars = scores.layer("bars"), line = scores.layer();
      demo.paint(bars, shares.flatMap((group, kind) => group.map((share, k) => ["rect", {
        x: scores.px(k * top / BINS).toFixed(1), y: scores.py(share).toFixed(1), width: wide.toFixed(1),
        height: (scores.py(0) - scores.py(share)).toFixed(1), class: kind ? "anomalous" : "nominal",
      }])));
      const names = [["text", { x: 324, y: 26, class: "end nominal" }, "nominal"],
        ["text", { x: 324, y: 42, class: "end anomalous" }, "anomalous"]];
      demo.paint(scores.layer(), names);
      const plane = demo.axes({
        x: { range: [0, 1], label: "false alarms: share of nominal" },
        y: { range: [0, 1], label: "found: share of anomalous" }, width: 340, height: 300,
      });
      demo.paint(plane.layer(), [
        ["path", { class: "line dotted soft", d: plane.path([[0, 0], [1, 1]]) }],
        ["path", { class: "line bold nominal", d: plane.path(curve) }],
      ]);
      const point = plane.layer();
      const keys = "Arrow keys move it.";
      const ring = demo.drag(scores, {
        label: `Scores of both groups, and the threshold. ${keys}`, only: "x", count: () => 1,
        at: () => [state.threshold, highest / 2], move: (_, x) => demo.set({ threshold: Number(x.toFixed(3)) }),
      });
      const rates = () => [above(nominal, state.threshold), above(anomalous, state.threshold)];
      const other = demo.drag(plane, {
        label: `ROC, and the threshold's point. ${keys}`, count: () => 1, at: rates,
        move: (_, x, y) => {
          const by = Math.abs(x - rates()[0]) >= Math.abs(y - rates()[1]) ? [nominal, x] : [anomalous, y];
          demo.set({ threshold: quantile(by[0], 1 - by[1]) });
        },
      });

      demo.draw = () => {
        const [false_alarms, found] = rates(), t = scores.px(state.threshold);
        demo.paint(line, [
          ["rect", { class: "tint", x: t, y: scores.box.top, width: Math.max(0, scores.box.right - t),
            height: scores.box.bottom - scores.box.top }],
          ["path", { class: "line bold", d: `M${t} ${scores.box.top}V${scores.box.bottom}` }],
          ["circle", { class: "handle", cx: t, cy: scores.py(highest / 2), r: 7 }],
        ]);
        demo.paint(point, [["circle", { class: "handle", cx: plane.px(false_alarms), cy: plane.py(found), r: 7 }]]);
        ring();
        other();
        const percent = (share) => `${(100 * share).toFixed(1)} %`;
        demo.tell(
          "Above the threshold ", ["threshold", state.threshold, state.threshold.toFixed(2)], " lie ",
          ["found", found, percent(found)], " of the anomalous images, which are found, and ",
          ["false", false_alarms, percent(false_alarms)], " of the nominal ones, which are false alarms. ",
          "The curve and its area do not move: AUROC ", ["auroc", auroc, auroc.toFixed(3)], ".",
        );
      };
    },
  });
})();
